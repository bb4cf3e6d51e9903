"""The layers of an image out of an archive: what `docker save` writes, or an OCI layout as a tar."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import IO, Any

from builder.errors import BuildError
from builder.reproduce.entries import Kept, Layer, Wanted, read_tar

__all__ = ["Read", "read_archive"]

LARGEST_JSON = 16 << 20
MOST_JSON = 64 << 20
MOST_INDEXES = 8
"""An index of indexes of indexes; one that names itself would have no end."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Read:
    """One layer, the content of what was wanted of it, and its digest in the archive."""

    layer: Layer
    kept: Kept
    digest: str = ""


def read_archive(archive: io.RawIOBase | IO[bytes], wanted: Wanted = lambda _path: False) -> tuple[Read, ...]:
    """Return the layers of the one image in an archive, the lowest first. It is read once, from its beginning.

    Raises:
        BuildError: it is no such archive, holds several images, or is packed with zstd.
    """
    layers: dict[str, Read | str] = {}
    texts: dict[str, Any] = {}
    room = MOST_JSON
    try:
        with tarfile.open(fileobj=archive, mode="r|") as outer:
            for member in outer:
                file = outer.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                name = member.name.removeprefix("./")
                head = file.read(4)
                stream = _Joined(head, file)
                if head[:1] in (b"{", b"[") and member.size <= min(LARGEST_JSON, room):
                    texts[name] = _parsed(stream.read())
                    room -= member.size
                elif name.startswith("blobs/") or name.endswith("layer.tar"):
                    layers[name] = _layer(stream, head, name, wanted)
        return tuple(_sound(name, layers[name]) for name in _order(texts))
    except (tarfile.TarError, LookupError, TypeError, ValueError, AttributeError, OSError, EOFError) as error:
        raise BuildError(f"this is no archive of one image: {error}") from error


def _sound(name: str, read: Read | str) -> Read:
    """Return a layer of the image, which must have been one: taken as empty, it would be like any other damaged one."""
    if isinstance(read, str):
        raise BuildError(f"layer {name} cannot be read: {read}")
    return read


def _layer(stream: _Joined, head: bytes, name: str, wanted: Wanted) -> Read | str:
    """Return a layer; or why it is none, which concerns who needs it."""
    if not head:
        # Some engines write an empty layer so.
        return Read({}, {})
    if head == _ZSTD:
        raise BuildError(f"{name} is packed with zstd, which this Python does not read", hint="compression=gzip")
    try:
        layer, kept = read_tar(stream, wanted)
    except tarfile.TarError as error:
        return str(error)
    stream.read()
    return Read(layer, kept, f"sha256:{stream.hexdigest}")


def _order(texts: dict[str, Any]) -> list[str]:
    """Return the names of the image's layers, the lowest first."""
    if "manifest.json" in texts:
        (image,) = texts["manifest.json"]
        return [str(name) for name in image["Layers"]]
    found = texts["index.json"]
    for _ in range(MOST_INDEXES):
        if "layers" in found:
            break
        # An attestation has no platform of its own.
        images = [each for each in found["manifests"] if _architecture(each) != "unknown"]
        (image,) = images
        found = texts[_blob(image["digest"])]
    return [_blob(each["digest"]) for each in found["layers"]]


def _architecture(descriptor: dict[str, Any]) -> str:
    return str((descriptor.get("platform") or {}).get("architecture", ""))


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class _Joined(io.RawIOBase):
    """What was read of a stream already, and then the rest of it; hashed on its way."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest
        self._total = hashlib.sha256()

    @property
    def hexdigest(self) -> str:
        return self._total.hexdigest()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            data, self._head = self._head + self._rest.read(), b""
        else:
            data, self._head = self._head[:size], self._head[size:]
            data += self._rest.read(size - len(data)) if len(data) < size else b""
        self._total.update(data)
        return data

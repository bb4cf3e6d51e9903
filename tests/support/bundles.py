"""Small stores and bundles: made by drivebuild, and made by hand with something wrong in them but the right digests."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zstandard

from builder.source.bundle import Written, gather, write_bundle
from builder.source.bundleform import HEADER, Image, Manifest, trailer_head
from builder.source.store import Store

IMAGE = Image(model="toy", platform="plat", variant="stock", tag="drivebuild/toy:plat-stock", dockerfile="Dockerfile")
TEXTS = {
    "README.md": "# A bundle\n",
    "dockerfiles/toy/plat-stock/Dockerfile": "FROM scratch\n",
    "recipes/shipped/models/toy.yaml": "name: toy\n",
    "recipes/own-1/models/toy.yaml": "name: toy\n",
}
CONTENTS = {"wheel": bytes(range(256)) * 5, "empty": b"", "block": b"x" * 512}

_COMPRESSOR = zstandard.ZstdCompressor(level=1, write_checksum=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A need, as far as a bundle is concerned."""

    key: str
    title: str


def quiet(done: int, total: int) -> None:
    """Look at nothing."""


def sha256(content: bytes) -> str:
    """Return the digest that names a content."""
    return hashlib.sha256(content).hexdigest()


def fill(root: Path, contents: dict[str, bytes] = CONTENTS) -> Store:
    """Return a store with these contents, each by its sha256; `wheel` by a URL, too."""
    store = Store.make(root)
    for name, content in contents.items():
        path = store.partial(f"made-{name}")
        path.write_bytes(content)
        digest = sha256(content)
        entry = store.add(f"sha256:{digest}", path, file=f"{name}.whl", origin="https://example.org/", sha256=digest)
        if name == "wheel":
            store.alias(f"url:https://example.org/{name}", entry)
    return store


def manifest_of(store: Store, *, texts: dict[str, str] = TEXTS, architecture: str = "x86_64") -> Manifest:
    """Return the manifest of a bundle of all that a store has."""
    needs = [Wanted(entry.key, entry.file) for entry in store.entries()]
    return gather(needs, store, texts=texts, images=[IMAGE], architecture=architecture, fetch="fetch")  # type: ignore[arg-type]


def make(store: Store, target: Path, *, texts: dict[str, str] = TEXTS, architecture: str = "x86_64") -> Written:
    """Bundle all that a store has."""
    return write_bundle(manifest_of(store, texts=texts, architecture=architecture), texts, store, target, observe=quiet)


def frame_of(bundle: bytes) -> bytes:
    """Return the compressed part of a bundle."""
    return bundle[len(HEADER) : -len(trailer_head()) - 32]


def tar_of(bundle: bytes) -> bytes:
    """Return the tar in a bundle."""
    return zstandard.ZstdDecompressor().decompress(frame_of(bundle), max_output_size=1 << 24)


def sealed(frame: bytes, *, header: bytes = HEADER) -> bytes:
    """Return a bundle around a compressed stream, with the trailer that fits: what a forger would make."""
    head = header + frame + trailer_head()
    return head + hashlib.sha256(head).digest()


def packed(tar: bytes) -> bytes:
    """Return a bundle around a tar."""
    return sealed(_COMPRESSOR.compress(tar))


def forged_manifest(files: Sequence[dict[str, object]], **changes: object) -> bytes:
    """Return the JSON of a manifest with these files, whatever they are."""
    data = {
        "format": 1,
        "drivebuild": "0",
        "architecture": "x86_64",
        "images": [msgspec.to_builtins(IMAGE)],
        "files": list(files),
        **changes,
    }
    return msgspec.json.encode(data)


def described(path: str, content: bytes, key: str = "") -> dict[str, object]:
    """Return what a manifest says of a file."""
    keys = [{"key": key, "file": "f"}] if key else []
    return {"path": path, "size": len(content), "sha256": sha256(content), "keys": keys}


def regular(name: str, content: bytes, **changes: object) -> tarfile.TarInfo:
    """Return the header of a regular file as drivebuild writes it, with changes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o644, 1609459200
    for field, value in changes.items():
        setattr(info, field, value)
    return info

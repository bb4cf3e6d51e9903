"""Packs what builds need into one file that can be carried: the store's part, rendered files, recipes, a manifest.

Nothing is written before all of it is known to be there, and the file gets its name when it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import zstandard

from builder import __version__
from builder.errors import SourceError
from builder.plan.needs import Need, WeightNeed
from builder.source.bundleform import (
    END,
    FORMAT,
    HEADER,
    MANIFEST,
    Held,
    Image,
    Manifest,
    Member,
    read_manifest,
    tar_header,
    tar_padding,
    tar_size,
    trailer_head,
)
from builder.source.bundlestream import CHUNK, Behind, Hashing, disk_error, write_all
from builder.source.disk import sync
from builder.source.entry import Entry, object_path
from builder.source.store import Observe, Store

if TYPE_CHECKING:
    from builder.recipe.types import Architecture

__all__ = ["Written", "gather", "write_bundle"]

LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A finished bundle. `sha256` is what `sha256sum` prints for the file."""

    path: Path
    size: int
    content: int
    sha256: str
    manifest: Manifest


def gather(
    needs: Iterable[Need],
    store: Store,
    *,
    texts: Mapping[str, str],
    images: Sequence[Image],
    architecture: Architecture,
    fetch: str,
) -> Manifest:
    """Return the manifest of a bundle with everything that the needs name; `fetch` is the command that gets it.

    Raises:
        SourceError: listing by name all that the store does not have.
    """
    found: dict[str, Entry] = {}
    missing: dict[str, Need] = {}
    for need in needs:
        entry = store.find(need.key)
        if entry is None:
            missing[need.key] = need
        else:
            found[need.key] = entry
    if missing:
        weights = any(isinstance(need, WeightNeed) for need in missing.values())
        hint = f"`{fetch}` gets them" + ("; --no-weights leaves weights out" if weights else "")
        raise SourceError(_list_missing([need.title for need in missing.values()], store.root), hint=hint)
    files = [_text_member(path, text) for path, text in sorted(texts.items())]
    files += _object_members(found)
    manifest = Manifest(
        format=FORMAT, drivebuild=__version__, architecture=architecture, images=tuple(images), files=tuple(files)
    )
    # What a reader would refuse is refused here.
    return read_manifest(_encode(manifest))


def _list_missing(titles: list[str], root: Path) -> str:
    count = f"{len(titles)} thing{'s are' if len(titles) > 1 else ' is'}"
    lines = [f"missing: {title}" for title in titles]
    return "\n".join((f"{count} not in the store {root}; nothing was written", *lines))


def _text_member(path: str, text: str) -> Member:
    content = text.encode()
    return Member(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _object_members(found: Mapping[str, Entry]) -> Iterator[Member]:
    """Yield each object once, under all keys that lead to it."""
    held: dict[tuple[str, int], list[Held]] = {}
    for key, entry in sorted(found.items()):
        item = Held(key=key, file=entry.file, origin=_portable(entry.origin), note=entry.note)
        held.setdefault((entry.sha256, entry.size), []).append(item)
    for (sha256, size), items in sorted(held.items()):
        yield Member(path=object_path(sha256), size=size, sha256=sha256, keys=tuple(items))


def _portable(origin: str) -> str:
    """Leave a path of this machine out: it means nothing elsewhere, and is nobody's business there."""
    return "file" if origin.startswith(("file:", "/")) else origin


def _encode(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1) + b"\n"


def write_bundle(
    manifest: Manifest, texts: Mapping[str, str], store: Store, target: Path, *, observe: Observe
) -> Written:
    """Write the bundle, hashing each file again on the way.

    Raises:
        SourceError: when a file of the store is not what the store says, or the disk does not take the bundle. What was
            at `target` before is still there then.
    """
    _check_target(target, store)
    temporary = target.with_name(f".{target.name}.partial")
    try:
        with _claimed(temporary, target) as handle:
            size, digest = _Writer(handle, manifest, observe).write(texts, store)
            # A stick with FAT has no such rights, and says that they are not permitted.
            with contextlib.suppress(PermissionError):
                os.fchmod(handle, 0o644)
            os.fsync(handle)
            os.replace(temporary, target)  # noqa: PTH105
            sync(target.parent)
    except OSError as error:
        raise disk_error(error, f"cannot write {target}", "-o names another place") from error
    content = sum(member.size for member in manifest.files)
    return Written(path=target, size=size, content=content, sha256=digest, manifest=manifest)


def _check_target(target: Path, store: Store) -> None:
    if target.resolve().is_relative_to(store.root.resolve()):
        raise SourceError(f"{target} lies in the store", hint="-o names another place")
    if target.is_dir():
        raise SourceError(f"{target} is a folder", hint="-o takes the name of a file")
    if not target.exists():
        return
    if not target.is_file():
        raise SourceError(f"{target} is not a regular file", hint="-o takes the name of a file")
    # A slip of the hand, `-o model.py`, must not cost somebody's file.
    with target.open("rb") as file:
        head = file.read(len(HEADER))
    if head and head != HEADER:
        raise SourceError(f"{target} exists and is not a bundle", hint="remove it, or choose another name with -o")


@contextlib.contextmanager
def _claimed(temporary: Path, target: Path) -> Iterator[int]:
    """Open the temporary file for this process alone; it is removed when something goes wrong.

    Its name is always the same, so that what a killed run has left is used again instead of staying for ever.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, temporary, target)
        try:
            os.ftruncate(handle, 0)
            yield handle
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    finally:
        os.close(handle)


def _lock(handle: int, temporary: Path, target: Path) -> None:
    busy = SourceError(f"another drivebuild is writing {target}", hint="wait for it, or choose another name with -o")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise busy from error
    except OSError as error:
        # Some network file systems know no locks; two runs with one target are rare enough there.
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(f"{temporary} is not a regular file", hint="remove it")
    # The other run may have finished, and renamed this very file, between our opening it and locking it.
    if not temporary.exists() or temporary.stat().st_ino != found.st_ino:
        raise busy


class _Writer:
    """Compresses, while other threads hash the files, hash the bundle, and write it."""

    def __init__(self, handle: int, manifest: Manifest, observe: Observe) -> None:
        self._handle = handle
        self._manifest = manifest
        self._observe = observe
        self._packed = 0
        self._done = 0
        head = _encode(manifest)
        self._head = head
        self._total = tar_size([len(head), *(member.size for member in manifest.files)])
        # With threads=1 and more, zstd cuts the stream at the same places, whatever their number: equal bundles.
        compressor = zstandard.ZstdCompressor(level=LEVEL, threads=os.cpu_count() or 1, write_checksum=True)
        self._stream = compressor.compressobj(size=self._total)

    def write(self, texts: Mapping[str, str], store: Store) -> tuple[int, str]:
        """Write everything and return the bundle's size and sha256."""
        self._whole, self._files, self._file = Hashing(), Hashing(), Behind()
        try:
            self._out(HEADER)
            self._text(MANIFEST, self._head)
            for member in self._manifest.texts:
                self._text(member.path, texts[member.path].encode())
            for member in self._manifest.objects:
                self._object(member, store.root / member.path)
            self._in(END)
            self._out(self._stream.flush())
            self._out(trailer_head())
            whole = self._whole.result()
            self._file.do(write_all, self._handle, whole.digest())
            self._file.finish()
            self._files.finish()
            self._check()
        finally:
            for thread in (self._whole, self._files, self._file):
                thread.stop()
        whole.update(whole.digest())
        return self._packed + whole.digest_size, whole.hexdigest()

    def _text(self, path: str, content: bytes) -> None:
        self._in(tar_header(path, len(content)) + content + bytes(tar_padding(len(content))))

    def _object(self, member: Member, path: Path) -> None:
        self._check()
        self._in(tar_header(member.path, member.size))
        for piece in _pieces(path, member):
            self._files.feed(piece)
            self._in(piece)
        self._files.cut(_named(member), member.sha256)
        self._in(bytes(tar_padding(member.size)))

    def _check(self) -> None:
        if self._files.wrong:
            raise _damaged(self._files.wrong)

    def _in(self, piece: bytes) -> None:
        self._out(self._stream.compress(piece))
        self._done += len(piece)
        self._observe(self._done, self._total)

    def _out(self, piece: bytes) -> None:
        if piece:
            self._whole.feed(piece)
            self._file.do(write_all, self._handle, piece)
            self._packed += len(piece)


def _pieces(path: Path, member: Member) -> Iterator[bytes]:
    """Yield a file's content, exactly as many bytes as the store says."""
    left = member.size
    try:
        with path.open("rb", buffering=0) as file:
            while left and (piece := file.read(min(CHUNK, left))):
                left -= len(piece)
                yield piece
            if left or file.read(1):
                raise _damaged(_named(member))
    except OSError as error:
        raise SourceError(f"cannot read {_named(member)} from the store: {error.strerror}") from error


def _named(member: Member) -> str:
    return f"{member.keys[0].file or member.keys[0].key} ({member.path})"


def _damaged(name: str) -> SourceError:
    hint = "`drivebuild store verify` lists what is damaged; `drivebuild fetch` gets it again"
    return SourceError(f"{name}: its content is not what was fetched; no bundle was written", hint=hint)

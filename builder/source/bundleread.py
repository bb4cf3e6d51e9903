"""Reads a bundle, every byte of it, and believes nothing in it: what is not as drivebuild writes it is refused."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import zstandard

from builder.errors import SourceError
from builder.source.bundleform import (
    BLOCK,
    END,
    HEADER,
    MANIFEST,
    MOST_MANIFEST,
    TRAILER,
    Manifest,
    Member,
    check_header,
    read_manifest,
    tar_header,
    tar_padding,
    trailer_head,
)
from builder.source.bundlestream import CHUNK, FrameWalk, Hashing
from builder.source.store import Observe

__all__ = ["Sink", "bundle_name", "check_bundle", "read_bundle"]

AGAIN = "copy the bundle again; `sha256sum` prints what `drivebuild bundle` has printed for an unharmed one"
WINDOW = 1 << 27
"""Bytes of memory that a frame may ask for: 128 MiB is what zstd itself allows unasked. Ours need 2 MiB."""


class Sink(Protocol):
    """Takes what is in a bundle as it comes; none of it has been proved yet."""

    def begin(self, manifest: Manifest) -> None:
        """Look at the manifest and refuse what is not wanted."""
        ...

    def start(self, member: Member) -> None:
        """Begin a file."""
        ...

    def put(self, piece: bytes) -> None:
        """Take its next bytes."""
        ...

    def end(self) -> None:
        """Finish it."""
        ...


class Nowhere:
    """For `--check`: keeps nothing."""

    def begin(self, manifest: Manifest) -> None:
        """Any manifest will do."""

    def start(self, member: Member) -> None:
        """Any file will do."""

    def put(self, piece: bytes) -> None:
        """Drop it."""

    def end(self) -> None:
        """Nothing to finish."""


def check_bundle(path: Path, *, observe: Observe) -> Manifest:
    """Return the manifest of a bundle every byte of which is as it was written.

    Raises:
        SourceError: saying what is wrong, and in which file of the bundle.
    """
    return read_bundle(path, Nowhere(), observe)


def bundle_name(path: Path) -> str:
    """Return the beginning of the digest in the trailer: a name for scratch that only this bundle has.

    Raises:
        SourceError: for a file that is no bundle, or the first part of one.
    """
    with opened(path) as (file, size):
        return read_trailer(file, size, path)[:8].hex()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    with file:
        yield file, os.fstat(file.fileno()).st_size


def read_trailer(file: IO[bytes], size: int, path: Path) -> bytes:
    """Return the digest in the trailer, and leave the file behind its header.

    It is looked at first: a copy that was broken off is the likeliest mistake, and needs no minutes to be found.
    """
    check_header(file.read(len(HEADER)), str(path))
    head = trailer_head()
    if size >= len(HEADER) + TRAILER:
        file.seek(size - TRAILER)
        if file.read(len(head)) == head:
            digest = file.read(TRAILER - len(head))
            file.seek(len(HEADER))
            return digest
    raise SourceError(f"{path} is not complete: its end is missing", hint=AGAIN)


def read_bundle(path: Path, sink: Sink, observe: Observe) -> Manifest:
    """Read the whole bundle, give its files to `sink`, and return its manifest if nothing was wrong."""
    with opened(path) as (file, size):
        digest = read_trailer(file, size, path)
        packed = _Packed(file, size - TRAILER, observe)
        unpacked = _Unpacked(packed, sink)
        try:
            manifest = unpacked.read()
            packed.end()
            if packed.whole.result().digest() != digest:
                raise SourceError("damaged: its sha256 is not the one at its end")
        except zstandard.ZstdError as error:
            place = f"around byte {packed.place} of {size}"
            raise SourceError(f"{path}: damaged {place}: {error}", hint=AGAIN) from error
        except SourceError as error:
            raise SourceError(f"{path}: {error.message}", hint=error.hint or AGAIN) from error
        finally:
            packed.whole.stop()
            unpacked.files.stop()
    return manifest


class _Packed:
    """The compressed part of a bundle as zstd reads it: hashed and counted on the way, by one who knows its end."""

    def __init__(self, file: IO[bytes], end: int, observe: Observe) -> None:
        self.place = len(HEADER)
        self.whole = Hashing()
        self.whole.feed(HEADER)
        self._file = file
        self._end = end
        self._walk = FrameWalk()
        self._observe = observe

    def read(self, size: int) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            SourceError: when the file cannot be read, and for bytes that no bundle has.
        """
        try:
            piece = self._file.read(min(size, self._end - self.place))
        except OSError as error:
            raise SourceError(f"cannot be read at byte {self.place}: {error.strerror}") from error
        self.place += len(piece)
        self.whole.feed(piece)
        self._walk.feed(piece)
        self._observe(self.place, self._end)
        return piece

    def end(self) -> None:
        """Check that everything has been read, and that the frame ends here.

        Raises:
            SourceError: when it does not.
        """
        if self.place != self._end:
            raise SourceError("bytes after the end of the compressed stream")
        if not self._walk.ended:
            raise SourceError("the compressed stream ends early")
        self.whole.feed(trailer_head())


class _Unpacked:
    """The tar. Whatever is not byte for byte what the manifest makes it is refused by name."""

    def __init__(self, packed: _Packed, sink: Sink) -> None:
        self.files = Hashing()
        self._sink = sink
        # By pieces, so that a few bytes that unpack to gigabytes meet a check before they need memory.
        decompressor: Any = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self._stream = decompressor.stream_reader(packed, read_size=CHUNK, read_across_frames=False)

    def read(self) -> Manifest:
        """Read to the end and return the manifest."""
        manifest = self._manifest()
        self._sink.begin(manifest)
        for member in manifest.files:
            self._member(member)
        if (found := self._exactly(len(END))) != END:
            raise SourceError(f"after the last file of the manifest: {_describe(found[:BLOCK])}")
        if self._stream.read(1):
            raise SourceError("bytes after the end of the archive")
        self.files.finish()
        self._check()
        return manifest

    def _manifest(self) -> Manifest:
        head = self._exactly(BLOCK)
        with contextlib.suppress(ValueError):
            size = int(head[124:135], 8)
            if size <= MOST_MANIFEST and head == tar_header(MANIFEST, size):
                content = self._exactly(size)
                self._padding(MANIFEST, size)
                return read_manifest(content)
        raise SourceError(f"the first file must be {MANIFEST}; found: {_describe(head)}")

    def _member(self, member: Member) -> None:
        self._check()
        head = self._exactly(BLOCK)
        if head != tar_header(member.path, member.size):
            expected = f"{member.path!r} of {member.size} bytes"
            raise SourceError(f"the next file must be {expected}; found: {_describe(head)}")
        self._sink.start(member)
        left = member.size
        while left:
            piece = self._stream.read(min(left, CHUNK))
            if not piece:
                raise SourceError(f"ends in the middle of {member.path!r}")
            left -= len(piece)
            self.files.feed(piece)
            self._sink.put(piece)
        self._sink.end()
        self.files.cut(member.path, member.sha256)
        self._padding(member.path, member.size)

    def _padding(self, path: str, size: int) -> None:
        if any(self._exactly(tar_padding(size))):
            raise SourceError(f"{path!r}: bytes after its end")

    def _check(self) -> None:
        if self.files.wrong:
            raise SourceError(f"{self.files.wrong!r}: its content does not have the sha256 of the manifest")

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            piece = self._stream.read(size - len(found))
            if not piece:
                raise SourceError("the archive ends early")
            found += piece
        return bytes(found)


_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device node",
    tarfile.BLKTYPE: "a device node",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
    tarfile.REGTYPE: "a file",
    tarfile.AREGTYPE: "a file",
}


def _describe(head: bytes) -> str:
    """Say what a tar header that is not the expected one stands for."""
    if not any(head):
        return "the end of the archive"
    try:
        info = tarfile.TarInfo.frombuf(head, "utf-8", "backslashreplace")
    except tarfile.TarError:
        return "bytes that are no header"
    kind = _KINDS.get(info.type, "a header of a kind that bundles do not have")
    target = f" to {info.linkname!r}" if info.linkname else ""
    facts = f"{info.size} bytes, mode {info.mode:o}, owner {info.uid}:{info.gid}, time {info.mtime}"
    return f"{kind} {info.name!r}{target} ({facts})"

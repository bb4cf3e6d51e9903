"""The form of a bundle: header, one zstd frame of a strict tar whose first member is the manifest, trailer.

Header and trailer are skippable frames of zstd, so the file as a whole is one that `zstd -dc FILE | tar x` reads: who
has lost drivebuild has not lost the sources. The trailer holds the sha256 of everything before it.

Every byte of the tar follows from the manifest. So a reader compares headers and padding with what they must be, and
has nothing to interpret: no links, no devices, no paths but the manifest's own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from builder.errors import SourceError
from builder.recipe.types import Architecture, Sha256
from builder.source.entry import object_path

__all__ = [
    "BLOCK",
    "END",
    "FORMAT",
    "HEADER",
    "MANIFEST",
    "MOST_MANIFEST",
    "OBJECTS",
    "TRAILER",
    "Held",
    "Image",
    "Manifest",
    "Member",
    "check_header",
    "read_manifest",
    "tar_header",
    "tar_padding",
    "tar_size",
    "trailer_head",
]

FORMAT = 1
MANIFEST = "manifest.json"
OBJECTS = "objects"
BLOCK = 512
END = bytes(2 * BLOCK)
"""Two blocks of zeros end a tar."""
MOST_MANIFEST = 64 << 20
"""Bytes a manifest may have: it is read into memory, and some hundred thousand files fit."""

_SKIPPABLE = struct.Struct("<II")
_MARK = b"DRIVEB"
HEADER = _SKIPPABLE.pack(0x184D2A50, 8) + _MARK + struct.pack("<H", FORMAT)
_TAIL = b"DRIVEEND"
TRAILER = 16 + 32
"""Bytes of the trailer: its head, then the sha256 of all before that."""
CLOCK = 1609459200
"""The time of every file in the tar, as of everything drivebuild makes. With 0, GNU tar warns of each file."""

Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z", max_length=4000)]
Key = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}:[!-~]+\Z", max_length=2000)]
FileName = Annotated[str, Meta(pattern=r"^(?!\.{1,2}\Z)[^\x00-\x1f\x7f-\x9f/\\\ud800-\udfff]*\Z", max_length=255)]
_PART = re.compile(r"[A-Za-z0-9._@+=,~ -]+")


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whatever is not expected is an error: a bundle comes from elsewhere."""


class Held(_Strict, frozen=True, kw_only=True):
    """What the store knows of a file, under one of its keys."""

    key: Key
    file: FileName
    origin: Text = ""
    note: Text = ""


class Member(_Strict, frozen=True, kw_only=True):
    """One file of the bundle. One that belongs into the store has keys."""

    path: Text
    size: Annotated[int, Meta(ge=0, le=1 << 62)]
    sha256: Sha256
    keys: tuple[Held, ...] = ()


class Image(_Strict, frozen=True, kw_only=True):
    """An image that can be built from the bundle."""

    model: Text
    platform: Text
    variant: Text
    options: Mapping[Text, Text] = {}
    pinned: Mapping[Text, Text] = {}
    tag: Text
    dockerfile: Text


class Manifest(_Strict, frozen=True, kw_only=True):
    """What is in a bundle, and for what. No time and no path of a machine: equal content gives equal bytes."""

    format: int
    drivebuild: Text
    architecture: Architecture
    images: tuple[Image, ...]
    files: tuple[Member, ...]

    @property
    def objects(self) -> tuple[Member, ...]:
        """The files that go into the store."""
        return tuple(member for member in self.files if member.keys)

    @property
    def texts(self) -> tuple[Member, ...]:
        """The files for people: README, Dockerfiles, compose files, recipes."""
        return tuple(member for member in self.files if not member.keys)


def read_manifest(content: bytes) -> Manifest:
    """Return the manifest, if every path and key in it is one that drivebuild would write.

    Raises:
        SourceError: for what is no manifest, and for a path that could leave its folder, by name.
    """
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{MANIFEST}: {error}") from error
    if manifest.format != FORMAT:
        raise SourceError(f"{MANIFEST}: format {manifest.format}; this drivebuild reads format {FORMAT}")
    seen: set[str] = {MANIFEST}
    for member in manifest.files:
        _check_member(member, seen)
    folders = {folder.as_posix() for path in seen for folder in PurePosixPath(path).parents}
    if clash := sorted(seen & folders):
        raise SourceError(f"{MANIFEST}: {clash[0]!r} is both a file and a folder")
    keys = [held.key for member in manifest.files for held in member.keys]
    if len(keys) != len(set(keys)):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise SourceError(f"{MANIFEST}: the key {twice!r} is there twice")
    return manifest


def _check_member(member: Member, seen: set[str]) -> None:
    path = member.path
    if path in seen:
        raise SourceError(f"{MANIFEST}: {path!r} is there twice")
    seen.add(path)
    parts = path.split("/")
    if any(part in (".", "..") or not _PART.fullmatch(part) for part in parts):
        raise SourceError(f"{MANIFEST}: {path!r} is no path that a bundle may have")
    tar_header(path, member.size)
    if not member.keys:
        if parts[0] == OBJECTS:
            raise SourceError(f"{MANIFEST}: {path!r} has no key of the store")
        return
    if path != object_path(member.sha256):
        raise SourceError(f"{MANIFEST}: {path!r} is not where an object with sha256 {member.sha256} belongs")
    for held in member.keys:
        kind, _, rest = held.key.partition(":")
        if kind == "sha256" and rest != member.sha256:
            raise SourceError(f"{MANIFEST}: {held.key} is claimed by an object with sha256 {member.sha256}")


def tar_header(path: str, size: int) -> bytes:
    """Return the 512 bytes before a regular file in the tar (ustar; GNU's form of a size from 8 GiB on).

    Written here and not by `tarfile`, whose bytes have changed between versions of Python: readers compare them.

    Raises:
        SourceError: for a path that does not fit, or is not ASCII.
    """
    prefix, name = _split(path)
    digits = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    zero = b"0000000\0"
    head = name.ljust(100, b"\0") + b"0000644\0" + zero + zero + digits + b"%011o\0" % CLOCK
    tail = b"0".ljust(101, b"\0") + b"ustar\x0000" + bytes(64) + zero + zero + prefix.ljust(155, b"\0") + bytes(12)
    checksum = sum(head) + 8 * ord(" ") + sum(tail)
    return head + b"%06o\0 " % checksum + tail


def _split(path: str) -> tuple[bytes, bytes]:
    try:
        encoded = path.encode("ascii")
    except UnicodeEncodeError as error:
        raise SourceError(f"{path!r}: a bundle holds paths in ASCII only") from error
    if len(encoded) <= 100:
        return b"", encoded
    for place, byte in enumerate(encoded):
        if byte == ord("/") and len(encoded) - place - 1 <= 100 and 0 < place <= 155:
            return encoded[:place], encoded[place + 1 :]
    raise SourceError(f"{path!r}: too long for a bundle")


def tar_padding(size: int) -> int:
    """Return the zeros that fill a file's last block."""
    return -size % BLOCK


def tar_size(sizes: Iterable[int]) -> int:
    """Return the bytes of a tar whose files have these sizes."""
    return sum(BLOCK + size + tar_padding(size) for size in sizes) + len(END)


def trailer_head() -> bytes:
    """Return the trailer without its digest."""
    return _SKIPPABLE.pack(0x184D2A51, 8 + 32) + _TAIL


def check_header(head: bytes, name: str) -> None:
    """Check the first bytes of a file.

    Raises:
        SourceError: when they are not a bundle's, or a later format's.
    """
    if head[:-2] != HEADER[:-2]:
        raise SourceError(f"{name} is not a bundle of drivebuild", hint="`drivebuild bundle` makes them")
    if head != HEADER:
        found = struct.unpack("<H", head[-2:])[0]
        hint = "use the drivebuild that made it, or a newer one"
        raise SourceError(f"{name} is a bundle of format {found}; this drivebuild reads format {FORMAT}", hint=hint)

"""Why a file differs between two builds: by what it is, and by what is left when the known cause is taken out."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Literal

from builder.errors import BuildError
from builder.reproduce.entries import Entry, Member

__all__ = ["ACCEPTED", "DOCUMENTED", "Reason", "Why", "reason_for"]

Reason = Literal[
    "time", "profile", "package", "byte code", "archive order", "account date", "log", "numbers in text", "unknown"
]
Why = tuple[Reason, str]
"""The class, and what a person should know."""

DOCUMENTED: Mapping[Reason, str] = {
    "time": "only the time stamp: the engine's own image store keeps that of the build",
    "profile": "machine code after a training run, whose counters no two runs have alike",
}
"""What docs/reproducible.md accepts, and why."""
ACCEPTED = frozenset(DOCUMENTED)
LOGS = ("var/log/", "var/cache/ldconfig/", "var/cache/debconf/", "var/lib/dnf/history", "var/lib/dnf/", "tmp/")
_TRAINED = re.compile(
    r"opt/python/(bin/python[0-9.]*|lib/libpython[0-9.]+so[0-9.]*|lib/python[0-9.]+/lib-dynload/[^/]+\.so)\Z"
)
_COMPILED = re.compile(r"opt/venv/lib/python[0-9.]+/site-packages/.*\.so[0-9.]*\Z")
_NUMBERS = re.compile(rb"[0-9]+|\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b")
_AR = b"!<arch>\n"
MOST_UNPACKED = 256 << 20
"""Bytes that one file is unpacked to when it is an archive: it is of somebody's image."""
_DAMAGED = (BuildError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)


def reason_for(
    path: str,
    ours: Entry | None,
    theirs: Entry | None,
    *,
    texts: tuple[bytes, bytes] | None = None,
    variant: str = "",
    package: str = "",
) -> Why:
    """Return why a path differs.

    Args:
        path: in the image, without a slash in front.
        ours: its entry in the first image; None where that has none.
        theirs: in the second.
        texts: both contents, where they could be had.
        variant: `stock`, `lto`, ...: what the interpreter and the wheels were trained with.
        package: what is known of the distribution's package that it belongs to, such as `libssl3 3.0.11 -> 3.0.15`.
    """
    if ours is not None and theirs is not None and ours.plain() == theirs.plain():
        return "time", DOCUMENTED["time"]
    if package:
        return "package", package
    if any(path.startswith(place) for place in LOGS):
        return "log", "written by a tool on its way; no build needs it"
    if ours is None or theirs is None:
        return "unknown", "only one of the two images has it"
    if ours.kind != "file" or theirs.kind != "file" or ours.content == theirs.content:
        return "unknown", _other_difference(ours, theirs)
    if _trained(path, variant):
        return "profile", DOCUMENTED["profile"]
    return _of_content(path, *texts) if texts else ("unknown", "the contents differ")


def _trained(path: str, variant: str) -> bool:
    """Return whether a file is compiled with a profile that the build itself collects."""
    if variant in ("lto", "lto-full", "pgo", "pgo-instrument") and _TRAINED.match(path):
        return True
    # Of `pgo` the profile is an input, kept by its digest: compiled with it, wheels are as equal as without.
    return variant == "pgo-instrument" and bool(_COMPILED.match(path))


def _other_difference(ours: Entry, theirs: Entry) -> str:
    said = []
    if ours.kind != theirs.kind:
        said.append(f"a {ours.kind} there, a {theirs.kind} here")
    if ours.mode != theirs.mode:
        said.append(f"mode {ours.mode:04o} there, {theirs.mode:04o} here")
    if ours.owner != theirs.owner:
        said.append(f"owner {ours.owner[0]}:{ours.owner[1]} there, {theirs.owner[0]}:{theirs.owner[1]} here")
    if ours.xattrs != theirs.xattrs:
        said.append("extended attributes")
    if ours.kind in ("link", "name", "device") and ours.content != theirs.content:
        said.append(f"{ours.content} there, {theirs.content} here")
    return "; ".join(said) or "the contents differ"


def _of_content(path: str, ours: bytes, theirs: bytes) -> Why:
    if path.endswith(".pyc"):
        return _of_byte_code(ours, theirs)
    if path in ("etc/shadow", "etc/shadow-") and _without_dates(ours) == _without_dates(theirs):
        return "account date", "the day on which an account was made: useradd without SOURCE_DATE_EPOCH"
    members = _members(ours), _members(theirs)
    if members[0] is not None and members[0] == members[1]:
        return "archive order", "the same files in another order, or with other times"
    if members == (None, None) and b"\0" not in ours and b"\0" not in theirs and _masked(ours) == _masked(theirs):
        return "numbers in text", "lines that differ in numbers or names of days only: a date, a duration, a count"
    return "unknown", "the contents differ"


def _of_byte_code(ours: bytes, theirs: bytes) -> Why:
    if len(ours) > 16 and len(theirs) > 16 and ours[:4] == theirs[:4] and ours[16:] == theirs[16:]:
        flags = struct.unpack("<I", ours[4:8])[0]
        how = "checked by a time stamp: SOURCE_DATE_EPOCH or settle.py makes it a hash" if flags == 0 else "its header"
        return "byte code", f"the same code, {how}"
    return "byte code", "other code: another seed of hashes, other sources, or another Python"


def _without_dates(text: bytes) -> list[list[bytes]]:
    return [line.split(b":")[:2] + line.split(b":")[3:] for line in text.splitlines()]


def _masked(text: bytes) -> bytes:
    return _NUMBERS.sub(b"0", text)


def _members(data: bytes) -> dict[str, str] | None:
    """Return the sha256 of what an archive holds by name.

    None for what is none, for one with a name twice, and for one that unpacks to more than MOST_UNPACKED.
    """
    room = _Room()
    try:
        if data.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                names = archive.namelist()
                found = {name: room.sha256(archive.open(name)) for name in names}
        elif data.startswith(_AR):
            pairs = _ar_members(data)
            names = [name for name, _ in pairs]
            found = {name: hashlib.sha256(content).hexdigest() for name, content in pairs}
        else:
            # As a stream: looked through for all names first, it would be unpacked without a bound.
            names, found = [], {}
            with tarfile.open(fileobj=io.BytesIO(data), mode="r|*", tarinfo=Member) as tar:
                for member in tar:
                    file = tar.extractfile(member) if member.isfile() else None
                    if file is None:
                        room.take(member.size)
                        continue
                    names.append(member.name)
                    found[member.name] = room.sha256(file)
    except (OSError, EOFError, ArithmeticError, LookupError, ValueError, RuntimeError, struct.error, *_DAMAGED):
        return None
    return found if len(found) == len(names) else None


class _Room:
    """How much may still be unpacked: a megabyte of zeros is a kilobyte in an archive."""

    def __init__(self) -> None:
        self._left = MOST_UNPACKED

    def take(self, size: int) -> None:
        self._left -= size
        if size < 0 or self._left < 0:
            raise ValueError

    def sha256(self, file: IO[bytes]) -> str:
        total = hashlib.sha256()
        with file:
            while piece := file.read(1 << 20):
                self.take(len(piece))
                total.update(piece)
        return total.hexdigest()


def _ar_members(data: bytes) -> list[tuple[str, bytes]]:
    """Return the members of a static library: 60 bytes of header, then the content, padded to an even length."""
    found: list[tuple[str, bytes]] = []
    at = len(_AR)
    while at + 60 <= len(data):
        head = data[at : at + 60]
        size = int(head[48:58])
        if size < 0:
            raise ValueError
        found.append((f"{head[:16].decode('latin-1').rstrip()}#{len(found)}", data[at + 60 : at + 60 + size]))
        at += 60 + size + size % 2
    return found

"""Looks at files: what a folder holds, and whether a file begins and ends as its kind does. Reads, and never writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from builder.dataset.nuscenes import POINT_BYTES

__all__ = ["BROKEN_LINK", "EMPTY", "Listing", "condition", "deep_condition", "list_folder", "list_folders", "readable"]

EMPTY = "empty"
BROKEN_LINK = "a link to nothing"
UNREADABLE = "not readable"
NO_FILE = "not a file"
CUT_POINTS = f"cut off: their size is no multiple of {POINT_BYTES} bytes"
CUT_PICTURE = "cut off or no JPEG"
CUT_ARCHIVE = "cut off or no npz"
CUT_MASK = "cut off or no PNG"
CUT_RADAR = "no radar points"
CUT_JSON = "cut off or no JSON"
WORKERS = 8
"""Threads that look at files: on a network's file system, what takes time is asking."""


@dataclass(slots=True)
class Listing:
    """What a folder holds: names of sound files, and what is wrong with the others."""

    sound: set[str] = field(default_factory=set)
    wrong: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes in bytes of the sound files, where they were asked for."""
    error: str = ""
    """Why the folder itself cannot be read."""


def readable(info: os.stat_result) -> bool:
    """Return whether this process may read a file or folder, going by its mode."""
    mode = info.st_mode
    if mode & 0o444 == 0o444 or os.geteuid() == 0:
        return True
    if info.st_uid == os.geteuid():
        return bool(mode & 0o400)
    if info.st_gid in {os.getegid(), *os.getgroups()}:
        return bool(mode & 0o040)
    return bool(mode & 0o004)


def condition(name: str, info: os.stat_result) -> str:
    """Return what is wrong with a file, going by its size and mode; '' when nothing is."""
    if not stat.S_ISREG(info.st_mode):
        return NO_FILE
    if not info.st_size:
        return EMPTY
    if info.st_mode & 0o444 != 0o444 and not readable(info):
        return UNREADABLE
    if name.endswith(".pcd.bin") and info.st_size % POINT_BYTES:
        return CUT_POINTS
    return ""


def list_folder(folder: Path, *, sizes: bool = False) -> Listing:
    """Return what a folder holds. Links are followed; a folder that is not there is an empty listing with an error."""
    found = Listing()
    sound = found.sound.add
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                try:
                    info = entry.stat()
                except OSError:
                    found.wrong[name] = BROKEN_LINK if entry.is_symlink() else UNREADABLE
                    continue
                wrong = condition(name, info)
                if wrong:
                    found.wrong[name] = wrong
                    continue
                sound(name)
                if sizes:
                    found.sizes[name] = info.st_size
    except OSError as error:
        found.error = error.strerror or str(error)
    return found


def list_folders(root: Path, folders: Iterable[str], *, with_sizes: frozenset[str] = frozenset()) -> dict[str, Listing]:
    """Return the listings of folders below `root`, several at a time."""
    names = list(folders)
    with ThreadPoolExecutor(WORKERS) as pool:
        listings = pool.map(lambda name: list_folder(root / name, sizes=name in with_sizes), names)
        return dict(zip(names, listings, strict=True))


def deep_condition(path: Path) -> str:
    """Return what is wrong with a file's beginning and end; '' when nothing is, or its kind is not known.

    A picture, an archive and a table of points say at both ends what they are; what lies between is not read.
    """
    look = next((check for ending, check in _DEEP.items() if path.name.endswith(ending)), None)
    if look is None:
        return ""
    try:
        with path.open("rb") as file:
            head = file.read(512)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 512))
            tail = file.read()
    except OSError:
        return UNREADABLE
    return look(head, tail, size)


def _jpeg(head: bytes, tail: bytes, size: int) -> str:
    # Cameras' software may pad the end with zeros.
    return "" if head.startswith(b"\xff\xd8\xff") and tail.rstrip(b"\0").endswith(b"\xff\xd9") else CUT_PICTURE


def _png(head: bytes, tail: bytes, size: int) -> str:
    return "" if head.startswith(b"\x89PNG\r\n\x1a\n") and tail.endswith(b"IEND\xaeB`\x82") else CUT_MASK


def _zip(head: bytes, tail: bytes, size: int) -> str:
    return "" if head.startswith(b"PK\x03\x04") and b"PK\x05\x06" in tail else CUT_ARCHIVE


def _radar(head: bytes, tail: bytes, size: int) -> str:
    """The header says how many points follow, and how large one is."""
    fields = dict(line.split(b" ", 1) for line in head.split(b"\n") if b" " in line)
    start = head.find(b"DATA binary\n")
    try:
        point = sum(int(word) for word in fields[b"SIZE"].split())
        wanted = start + len(b"DATA binary\n") + point * int(fields[b"POINTS"])
    except (KeyError, ValueError):
        return CUT_RADAR
    return "" if start > 0 and size >= wanted else CUT_RADAR


def _json(head: bytes, tail: bytes, size: int) -> str:
    return "" if head.lstrip()[:1] + tail.rstrip()[-1:] in (b"[]", b"{}") else CUT_JSON


_DEEP: dict[str, Callable[[bytes, bytes, int], str]] = {
    ".jpg": _jpeg,
    ".npz": _zip,
    ".png": _png,
    ".json": _json,
    ".pcd": _radar,
}

"""What drivebuild left on this machine's disk and nobody needs: old records and logs, caches, remains of killed runs.

Whoever still works in a folder is asked by the kernel: builds hold a lock on their log and on their temporary folder,
which ends with the process, and processes name the folders they were given in their command lines.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = [
    "Kind",
    "Leftover",
    "Times",
    "caches",
    "disk_bytes",
    "held",
    "named_paths",
    "old_profiles",
    "old_records",
    "remains",
    "remove",
    "temporary_folder",
]

Kind = Literal["record", "log", "profile", "cache", "remains"]
HOUR = 3600.0
DRAFT = re.compile(r"\.(?:context-|export-|layout-|new-|pack-|record\.json\.[0-9]+\Z)")
"""Names that folders and files have until they are complete; see builder/source/disk.py for those of a store."""
CACHES = ("bases", "bench", "contents", "contexts", "packs", "trees")
"""Folders below the cache folder that are made again when they are missing. A store is none: `drivebuild store gc`."""
TEMPORARY = "drivebuild-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something that may go."""

    kind: Kind
    path: Path
    bytes: int
    """What its removal frees on disk."""
    when: float
    """Seconds since the epoch: when it was last written."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What is old enough."""

    now: float
    before: float
    """Written before this, in seconds since the epoch."""
    keep: int = 1
    """So many of the newest logs and profiles of a kind stay, whatever their age."""


class _Inode(NamedTuple):
    key: tuple[int, int]
    names: int
    bytes: int


@contextmanager
def temporary_folder(prefix: str = TEMPORARY) -> Iterator[Path]:
    """Yield a new folder that is gone afterwards, and that `clean` knows to be in use until then.

    Raises:
        OSError: when it cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):
                # A file system that knows no locks is no reason not to build.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(descriptor)


def held(path: Path) -> bool:
    """Return whether a living process holds the lock on a file or folder; True as well where that cannot be asked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def old_records(builds: Path, times: Times, *, folder_of_image: Iterable[Path]) -> Iterator[Leftover]:
    """Yield records and logs of builds that are old: all of them where the image is gone, else all but the newest logs.

    Args:
        builds: the folder that has one for each tag.
        times: what is old.
        folder_of_image: the folders of tags that the engine still has: their records stay.
    """
    there = set(folder_of_image)
    for folder in _folders(builds):
        logs = sorted(folder.glob("*.log"), key=lambda path: path.name)
        # A build has the folder's lock from its first step on, and writes the newest log.
        if any(held(path) for path in (*logs[-1:], folder / "lock") if path.exists()):
            continue
        gone = folder not in there
        for number, log in enumerate(reversed(logs)):
            if gone or number >= max(times.keep, 1):
                yield from _old(log, "log", times, "its image is gone" if gone else "not among the newest logs")
        if gone:
            for name in ("record.json", "plan.json", "Dockerfile", "files"):
                yield from _old(folder / name, "record", times, "its image is gone")
            if not any(folder.iterdir()):
                yield from _old(folder, "record", times, "nothing is in it")


def old_profiles(profiles: Path, times: Times, group: Callable[[Path], str]) -> Iterator[Leftover]:
    """Yield profiles that newer ones of the same kind have replaced.

    Args:
        profiles: the folder that has one for each.
        times: what is old.
        group: says what a profile is one of, such as a model's on a platform; '' where nobody knows.
    """
    kinds: dict[str, list[Path]] = {}
    for folder in _folders(profiles):
        kind = group(folder)
        if kind:
            kinds.setdefault(kind, []).append(folder)
    for folders in kinds.values():
        folders.sort(key=_written, reverse=True)
        for folder in folders[max(times.keep, 1) :]:
            yield from _old(folder, "profile", times, "a newer one of the same model, platform and variant is kept")


def caches(cache: Path, times: Times, named: frozenset[str]) -> Iterator[Leftover]:
    """Yield folders of the cache that are made again when they are missing.

    Args:
        cache: the cache folder.
        times: what is old.
        named: paths in the command lines of running processes.
    """
    for name in CACHES:
        for path in _entries(cache / name):
            if not DRAFT.match(path.name) and not _in_use(path, named):
                yield from _old(path, "cache", times, "made again when it is wanted")


def remains(folders: Iterable[Path], temporary: Path, times: Times, named: frozenset[str]) -> Iterator[Leftover]:
    """Yield what killed runs left: temporary folders that nobody holds, files and folders that were never complete.

    Args:
        folders: where drivebuild keeps things; each is looked into one level deep.
        temporary: the machine's temporary folder.
        times: the clock; an hour is old enough, for whoever works on something holds it or writes to it.
        named: paths in the command lines of running processes.
    """
    hour = Times(now=times.now, before=times.now - HOUR)
    own = os.getuid()
    for path in _entries(temporary):
        # In a folder that all may write to, only what is this user's own.
        made = path.name.startswith(TEMPORARY) and path.is_dir() and not path.is_symlink() and path.stat().st_uid == own
        if made and not held(path) and not _in_use(path, named):
            yield from _old(path, "remains", hour, "the process that made it is gone")
    for folder in folders:
        for path in _entries(folder):
            if DRAFT.match(path.name) and not _in_use(path, named):
                yield from _old(path, "remains", hour, "it was never complete")


def named_paths(proc: Path = Path("/proc")) -> frozenset[str]:
    """Return the words in command lines of running processes that can name a path."""
    found: set[str] = set()
    for process in _entries(proc):
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            text = (process / "cmdline").read_bytes().decode("utf-8", "replace")
            # `--build-context NAME=DIR`, `id=…,src=FILE`
            found.update(word for word in re.split(r"[\0=,]", text) if word.startswith("/"))
    return frozenset(found)


def disk_bytes(path: Path) -> int:
    """Return what removing a path frees on disk: a file with another name elsewhere frees nothing."""
    seen = Counter(_walk(path))
    return sum(inode.bytes for inode, names in seen.items() if names >= inode.names)


def remove(leftover: Leftover) -> str:
    """Remove one thing; return why it could not be removed, or ''."""
    path = leftover.path
    if leftover.kind == "log" and held(path):
        return "a build has begun to write it"
    try:
        if leftover.kind == "record" and path.is_dir() and path.name != "files":
            # With what a build has put there meanwhile it stays.
            path.rmdir()
        elif path.is_dir() and not path.is_symlink():
            # First out of the way: a reader finds all of it or nothing.
            aside = path.with_name(f".new-gone.{os.getpid()}.{path.name}")
            path.rename(aside)
            shutil.rmtree(aside)
        else:
            path.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _old(path: Path, kind: Kind, times: Times, why: str) -> Iterator[Leftover]:
    when = _written(path)
    if when and when < times.before:
        yield Leftover(kind=kind, path=path, bytes=disk_bytes(path), when=when, why=why)


def _in_use(path: Path, named: frozenset[str]) -> bool:
    text = str(path)
    return any(word == text or word.startswith(f"{text}/") for word in named)


def _written(path: Path) -> float:
    with suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


def _walk(path: Path) -> Iterator[_Inode]:
    """Yield what lies at and below a path; a link is itself, and not what it leads to."""
    with suppress(OSError):
        found = path.lstat()
        folder = stat.S_ISDIR(found.st_mode)
        # The links of a folder are the folders in it, and no names of its own.
        yield _Inode((found.st_dev, found.st_ino), 1 if folder else found.st_nlink, found.st_blocks * 512)
        if folder:
            for entry in os.scandir(path):
                yield from _walk(Path(entry.path))


def _folders(path: Path) -> list[Path]:
    return [entry for entry in _entries(path) if entry.is_dir() and not entry.is_symlink() and entry.name[0] != "."]


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(path))
    except OSError:
        return []

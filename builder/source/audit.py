"""What is wrong with a store, and what may go from it. `Store.verify` and `Store.collect` are how it is called."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import SourceError
from builder.source.disk import DRAFT, digest, failed
from builder.source.entry import Entry, entry_path, object_path, parse_entry
from builder.source.store import MARKER, MARKER_TEXT, PUBLISH_LOCK, Observe

if TYPE_CHECKING:
    from builder.source.store import Store

__all__ = ["Freed", "Problem", "collect", "partials", "verify"]


DRAFT_SECONDS = 3600


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A file of the store that is not what it should be."""

    path: str
    """Below the store."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What was removed, or would be: paths below the store, and bytes on disk."""

    objects: tuple[str, ...]
    entries: tuple[str, ...]
    partials: tuple[str, ...]
    size: int


def verify(store: Store, observe: Observe | None = None) -> tuple[Problem, ...]:
    """Return every problem, by path."""
    entries, problems = _read_entries(store)
    files = dict(_walk(store.root))
    found = [*problems, *_marker(store), *_foreign(files), *_missing(store, entries)]
    contents = {path: size for path, size in files.items() if _is_object(path)}
    wrong = _hashed(store.root, contents, observe)
    found += [Problem(path, f"{what}{_wanted_by(path, entries)}") for path, what in wrong.items()]
    return tuple(sorted(set(found)))


def _read_entries(store: Store) -> tuple[dict[str, Entry], list[Problem]]:
    sound: dict[str, Entry] = {}
    problems = []
    for file in sorted((store.root / "entries").glob("*/*.json")):
        path = file.relative_to(store.root).as_posix()
        try:
            entry = None if file.is_symlink() else parse_entry(file.read_bytes())
        except FileNotFoundError:
            continue  # another process's `gc`
        except OSError as error:
            problems.append(Problem(path, f"cannot be read: {error.strerror}"))
            continue
        if entry is None:
            problems.append(Problem(path, "a damaged entry"))
        elif entry_path(entry.key) != path:
            problems.append(Problem(path, f"the entry of another key: {entry.key}"))
        else:
            sound[path] = entry
    return sound, problems


def _walk(root: Path, below: str = "") -> Iterator[tuple[str, int]]:
    """Yield every file but those in partial/, with its size; a link or a device is -1, and no link is followed."""
    with os.scandir(root / below) as items:
        for item in sorted(items, key=lambda item: item.name):
            path = f"{below}{item.name}"
            if item.is_dir(follow_symlinks=False):
                if path != "partial":
                    yield from _walk(root, f"{path}/")
            else:
                with suppress(FileNotFoundError):
                    yield path, item.stat(follow_symlinks=False).st_size if item.is_file(follow_symlinks=False) else -1


def _is_object(path: str) -> bool:
    name = path.rpartition("/")[2]
    with suppress(SourceError):
        return path == object_path(name)
    return False


def _marker(store: Store) -> Iterator[Problem]:
    if (store.root / MARKER).read_bytes() != MARKER_TEXT.encode():
        yield Problem(MARKER, "damaged")


def _foreign(files: dict[str, int]) -> Iterator[Problem]:
    for path, size in files.items():
        entry = path.startswith("entries/") and path.count("/") == 2 and path.endswith(".json")
        if size < 0:
            yield Problem(path, "no regular file; a store holds no links and no devices")
        elif not (path == MARKER or entry or _is_object(path)):
            yield Problem(path, "a foreign file")


def _missing(store: Store, entries: dict[str, Entry]) -> Iterator[Problem]:
    for path, entry in entries.items():
        try:
            size = store.object(entry).lstat().st_size
        except OSError:
            yield Problem(path, f"its content is not there: {object_path(entry.sha256)} ({entry.file})")
            continue
        if size != entry.size:
            what = f"its content has {size} bytes, not {entry.size}: {object_path(entry.sha256)} ({entry.file})"
            yield Problem(path, what)


def _wanted_by(path: str, entries: dict[str, Entry]) -> str:
    names = sorted({entry.file for entry in entries.values() if object_path(entry.sha256) == path})
    return f" ({', '.join(names)})" if names else " (no entry names it)"


def _hashed(root: Path, contents: dict[str, int], observe: Observe | None) -> dict[str, str]:
    """Return what is wrong with contents. Threads suffice: hashing and reading leave the interpreter's lock."""
    total, counted, stop = sum(contents.values()), 0, threading.Event()
    one = threading.Lock()

    def tell(count: int) -> None:
        nonlocal counted
        if stop.is_set():
            raise InterruptedError
        if observe:
            with one:
                counted += count
                observe(counted, total)

    # The largest first, so that no thread is left with one of them at the end.
    order = sorted((path for path in contents if contents[path] >= 0), key=lambda path: -contents[path])
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        futures = {pool.submit(_wrong, root, path, tell): path for path in order}
        return {futures[done]: what for done in as_completed(futures) if (what := done.result())}
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _wrong(root: Path, path: str, tell: Callable[[int], None]) -> str:
    try:
        found = digest(root / path, tell)
    except FileNotFoundError:
        return ""  # another process's `gc`; if an entry still names it, that is reported
    except InterruptedError:
        return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if path.endswith(found) else f"damaged: its sha256 is {found}"


def partials(store: Store) -> tuple[Path, ...]:
    """Return what is below partial/ but for locks."""
    folder = store.root / "partial"
    return tuple(sorted(path for path in folder.glob("*") if path.suffix != ".lock")) if folder.is_dir() else ()


def collect(store: Store, keep: Collection[str] | None, *, dry: bool) -> Freed:
    """Remove what nothing needs; the caller holds the store's lock."""
    entries, problems = _read_entries(store)
    if problems:
        # Without its entry a content looks unneeded, and would be lost to a flipped bit.
        hint = "remove the damaged entries and fetch again, then collect"
        raise SourceError("\n".join(f"{store.root / item.path}: {item.what}" for item in problems), hint=hint)
    kept = {entry.sha256 for entry in entries.values() if keep is None or entry.key in keep}
    # The other keys of a content that stays cost nothing, and say what was first seen at a URL.
    gone = [store.root / path for path, entry in entries.items() if entry.sha256 not in kept]
    files = dict(_walk(store.root))
    unnamed = [store.root / path for path in files if _is_object(path) and path.rpartition("/")[2] not in kept]
    scratch = [path for path in partials(store) if not _in_use(store, path)]
    size = sum(_size(path) for path in (*gone, *unnamed, *scratch))
    if not dry:
        for path in (*gone, *unnamed, *scratch):  # an entry goes before its content
            _remove(path)
    return Freed(
        objects=_below(store, unnamed), entries=_below(store, gone), partials=_below(store, scratch), size=size
    )


def _below(store: Store, paths: list[Path]) -> tuple[str, ...]:
    return tuple(path.relative_to(store.root).as_posix() for path in paths)


def _in_use(store: Store, path: Path) -> bool:
    """Say whether somebody holds the lock of a partial file: the lock whose name the file's name begins with."""
    import filelock

    if path.name.startswith(DRAFT):
        # Of an entry, about to be renamed. Nobody locks it; an old one is of somebody who was killed.
        return time.time() - path.stat().st_mtime < DRAFT_SECONDS
    for lock in path.parent.glob("*.lock"):
        name = lock.name.removesuffix(".lock")
        if lock.name == PUBLISH_LOCK or not (path.name == name or path.name.startswith(f"{name}.")):
            continue
        try:
            with filelock.FileLock(lock, blocking=False):
                lock.unlink()  # of a process that was killed
        except filelock.Timeout:
            return True
    return False


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(item.lstat().st_size for item in path.rglob("*"))


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        failed(path, error)

"""The store: a content-addressed folder of what builds need. It can be carried anywhere.

    drivebuild-store.json        what it is
    objects/ab/<sha256>          contents, read-only
    entries/<kind>/<name>.json   one file per key: which content answers it
    partial/                     half downloads, scratch and locks; never read as content

A content is published before the entry that names it, each by a rename within the store: whoever is killed in
between leaves a content without a name, never a name without its content. A read-only store can be read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import SourceError
from builder.source.disk import digest, draft, failed, make_folder, sync
from builder.source.entry import Entry, entry_path, entry_text, object_path, parse_entry, safe_name

if TYPE_CHECKING:
    from builder.source.audit import Freed, Problem

__all__ = ["MARKER", "MARKER_TEXT", "PUBLISH_LOCK", "Entry", "Observe", "Store"]

MARKER = "drivebuild-store.json"
MARKER_TEXT = '{"format": 1}\n'
Observe = Callable[[int, int], None]
"""Is told bytes done and bytes in total, from any thread, never from two at once."""
PUBLISH_LOCK = ".publish.lock"


class Store:
    """A store on disk. Safe for several processes at once; what only reads needs no right to write."""

    def __init__(self, root: Path) -> None:
        """Open an existing store.

        Raises:
            SourceError: when `root` is none, or one of another format.
        """
        self.root = root
        self._threads = threading.Lock()
        try:
            text = (root / MARKER).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            what = "is not a store" if root.is_dir() else "there is no such store"
            raise SourceError(f"{root}: {what}", hint=f"`drivebuild fetch --store {root}` makes one") from None
        except OSError as error:
            failed(root / MARKER, error)
        if text.split() != MARKER_TEXT.split():
            hint = "a newer drivebuild made it, or the file is damaged"
            raise SourceError(f"{root / MARKER}: not a format that this drivebuild knows: {text[:60]!r}", hint=hint)

    @classmethod
    def make(cls, root: Path) -> Store:
        """Open a store; make it where there is nothing, or an empty folder.

        Raises:
            SourceError: for a folder that holds something else, or that cannot be written.
        """
        try:
            if not (root / MARKER).exists():
                cls._start(root)
        except OSError as error:
            failed(root, error)
        return cls(root)

    @staticmethod
    def _start(root: Path) -> None:
        make_folder(root)
        # One that was killed right here, or is at it this moment, has left partial/ and nothing else.
        other = sorted({path.name for path in root.iterdir()} - {"partial", MARKER, "objects", "entries"})
        if other:
            raise SourceError(f"{root}: not a store, and not empty: {', '.join(other[:3])}", hint="name a new folder")
        make_folder(root / "partial")
        draft(MARKER_TEXT, root / "partial").replace(root / MARKER)
        sync(root)

    def find(self, key: str) -> Entry | None:
        """Return the entry of a key when its content is there too, by size. `verify` is what hashes."""
        path = self.root / entry_path(key)
        try:
            entry = parse_entry(path.read_bytes())
            if entry is None or entry.key != key or self.object(entry).stat().st_size != entry.size:
                return None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            failed(path, error)
        return entry

    def object(self, entry: Entry) -> Path:
        """Return where an entry's content is."""
        return self.root / object_path(entry.sha256)

    def add(self, key: str, path: Path, *, file: str, origin: str, sha256: str, note: str = "") -> Entry:
        """Publish a finished file, which is moved away, under a key; a second time changes nothing.

        The caller has verified that the file has this sha256. `path` is below `partial()`, so that it is moved and
        not copied.

        Raises:
            SourceError: when the key has another content already, the disk is full or the store cannot be written.
        """
        try:
            entry = Entry(key=key, sha256=sha256, size=path.stat().st_size, file=file, origin=origin, note=note)
            sync(path, mode=0o444)
            return self._publish(entry, path)
        except OSError as error:
            failed(path, error)

    def adopt(self, key: str, *, file: str, origin: str, sha256: str, note: str = "") -> Entry | None:
        """Name a content that is there already, after hashing it; nothing when it is not there or is damaged.

        Raises:
            SourceError: when the key has another content already, or the store cannot be written.
        """
        path = self.root / object_path(sha256)
        try:
            if not _holds(path, sha256):
                return None
            entry = Entry(key=key, sha256=sha256, size=path.stat().st_size, file=file, origin=origin, note=note)
            return self._publish(entry)
        except OSError as error:
            failed(path, error)

    def alias(self, key: str, entry: Entry) -> Entry:
        """Give an entry's content a second key.

        Raises:
            SourceError: when the key has another content already, or the store cannot be written.
        """
        try:
            if self.object(entry).stat().st_size != entry.size:
                raise SourceError(f"{self.object(entry)}: not the size that its entry says")
            return self._publish(replace(entry, key=key))
        except OSError as error:
            failed(self.object(entry), error)

    def entries(self) -> tuple[Entry, ...]:
        """Return all sound entries, by key. `verify` reports the others."""
        found = (parse_entry(path.read_bytes()) for path in (self.root / "entries").glob("*/*.json"))
        return tuple(sorted((entry for entry in found if entry), key=lambda entry: entry.key))

    def partial(self, name: str) -> Path:
        """Return the path of something unfinished: the same for the same name. It need not be there.

        Hold `lock(name)` while using it, and names that only add a `.suffix`: `collect` removes what nobody holds.

        Raises:
            SourceError: when the store cannot be written.
        """
        return self._partials() / safe_name(name)

    @contextmanager
    def lock(self, name: str, *, stop: Callable[[], bool] = bool) -> Iterator[None]:
        """Hold the lock of a name, against other threads and processes; a killed holder's lock is free.

        `stop` is asked while waiting: the way out for a thread, which no Ctrl-C reaches.

        Raises:
            SourceError: when `stop` says so, or the store cannot be written.
        """
        path = self._partials() / f"{safe_name(name)}.lock"
        with _held(path, stop):
            try:
                yield
            finally:
                # Removed while held: who waits for it notices, and starts over with a new file.
                path.unlink(missing_ok=True)

    def verify(self, observe: Observe | None = None) -> tuple[Problem, ...]:
        """Hash every content and account for every file; return what is wrong. Takes no lock and writes nothing."""
        from builder.source.audit import verify

        return verify(self, observe)

    def collect(self, keep: Collection[str] | None = None, *, dry: bool = False) -> Freed:
        """Remove contents without a name, scratch that nobody holds and, with `keep`, entries of other keys.

        Raises:
            SourceError: when an entry is damaged, or the store cannot be written; nothing is removed then.
        """
        from builder.source.audit import collect

        with self._publishing():
            return collect(self, keep, dry=dry)

    @contextmanager
    def _publishing(self) -> Iterator[None]:
        # Held from a content's rename to its entry's, so that `collect` does not take what has no name yet. Threads
        # queue at a lock of their own: waiting for a file's lock is done by asking again and again.
        with self._threads, _held(self._partials() / PUBLISH_LOCK, bool):
            yield

    def _publish(self, entry: Entry, path: Path | None = None) -> Entry:
        target, named = self.object(entry), self.root / entry_path(entry.key)
        written = draft(entry_text(entry), self._partials())
        try:
            with self._publishing():
                known = self._known(entry)
                if path is not None:
                    _move(path, target, entry.sha256)
                if known:
                    return known
                make_folder(named.parent)
                # Neither folder is synced: a power cut may lose the names, which is found and fetched again, and
                # waiting for the disk here would make all threads wait.
                written.replace(named)
        finally:
            written.unlink(missing_ok=True)
        return entry

    def _known(self, entry: Entry) -> Entry | None:
        """Return what the key has already."""
        known = self.find(entry.key)
        if known and known.sha256 != entry.sha256:
            raise SourceError(
                f"{entry.key}: the store has sha256 {known.sha256} (from {known.origin}),"
                f" and now it is {entry.sha256} (from {entry.origin})",
                hint=f"what was first seen stays; if the new one is right, remove {self.root / entry_path(entry.key)}",
            )
        return known

    def _partials(self) -> Path:
        path = self.root / "partial"
        try:
            make_folder(path)
        except OSError as error:
            failed(path, error)
        return path


@contextmanager
def _held(path: Path, stop: Callable[[], bool]) -> Iterator[None]:
    import filelock

    lock = filelock.FileLock(path, mode=0o644)
    try:
        lock.acquire(poll_interval=0.02, cancel_check=stop)
    except filelock.Timeout:
        raise SourceError(f"{path}: given up, while another drivebuild held it") from None
    except OSError as error:
        failed(path, error)
    try:
        yield
    finally:
        lock.release()


def _holds(path: Path, sha256: str) -> bool:
    try:
        return digest(path) == sha256
    except FileNotFoundError:
        return False


def _move(path: Path, target: Path, sha256: str) -> None:
    """Rename a file to be a content, unless that is there. One that is there damaged is replaced, which repairs it."""
    if _holds(target, sha256):
        path.unlink()
        return
    make_folder(target.parent)
    path.replace(target)

"""Publishes many contents in a store at once, with the waits for the disk taken side by side.

`Store.add` waits for the disk four times, a few milliseconds each: nothing beside a download, and seconds for the
hundreds of files of a bundle. The order is the same: contents, then the entries that name them, each by a rename. All
that needs room on the disk comes before the first rename.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.errors import SourceError
from builder.source.disk import digest, draft, make_folder, sync
from builder.source.entry import Entry, entry_path, entry_text
from builder.source.store import PUBLISH_LOCK, Store

__all__ = ["THREADS", "agreed", "publish"]

THREADS = 8
"""Waits for the disk at a time: the file system writes its journal once for all of them."""


def agreed(entries: Iterable[Entry], store: Store) -> tuple[Entry, ...]:
    """Return the entries without those of git commits that the store has packed in another way, which is as good.

    Raises:
        SourceError: listing all other keys that have another content there. What was first seen stays, as in
            `Store.add`.
    """
    found, other = [], []
    for entry in entries:
        known = store.find(entry.key)
        if known is None or known.sha256 == entry.sha256:
            found.append(entry)
        elif entry.kind != "git":
            other.append(f"{entry.key}: sha256 {known.sha256} there, {entry.sha256} here")
    if other:
        message = f"the store {store.root} has other content under the same keys\n" + "\n".join(other)
        raise SourceError(
            message, hint="--store with a new folder takes what is here; `drivebuild store ls` lists the old"
        )
    return tuple(found)


def publish(store: Store, entries: Sequence[Entry], folder: Path, *, ballast: Path) -> None:
    """Move contents from `folder`, where each is named by its sha256 and written down to the disk, into the store.

    `ballast` is a file that keeps room for what the renames need; it is removed just before them.

    Raises:
        OSError: when the disk is full or the store cannot be written; before the first rename if at all possible.
    """
    import filelock

    drafts = folder / "entries"
    drafts.mkdir()
    objects = {store.object(entry): folder / entry.sha256 for entry in entries}
    # An entry that is there says where its content came from first; only the content is looked at again.
    fresh = [entry for entry in entries if store.find(entry.key) is None]
    names = [store.root / entry_path(entry.key) for entry in fresh]
    with ThreadPoolExecutor(THREADS) as pool:
        written = list(pool.map(lambda entry: draft(entry_text(entry), drafts), fresh))
        sound = set(pool.map(_if_sound, objects))
        folders = {path.parent for path in (*objects, *names)}
        for path in sorted(folders):
            make_folder(path)
        ballast.unlink()
        with filelock.FileLock(store.root / "partial" / PUBLISH_LOCK, mode=0o644):
            for target, path in objects.items():
                if not (target in sound and target.exists()):
                    path.replace(target)
            list(pool.map(sync, {path.parent for path in objects}))
            for path, name in zip(written, names, strict=True):
                path.replace(name)
            list(pool.map(sync, {name.parent for name in names}))


def _if_sound(path: Path) -> Path | None:
    """Return the path of a content that is there already and unharmed. A harmed one is replaced."""
    return path if path.is_file() and digest(path) == path.name else None

"""Unpacks a bundle into a store. Nothing is published before the whole file has been checked."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from builder.errors import SourceError
from builder.source.bundleform import Manifest, Member
from builder.source.bundleread import bundle_name, read_bundle
from builder.source.bundlestream import Behind, disk_error, write_all
from builder.source.disk import make_folder, sync
from builder.source.publish import THREADS, agreed, publish
from builder.source.store import Entry, Observe, Store

__all__ = ["Restored", "unbundle"]

PUBLISHING, BLOCKS = 1 << 20, 3 * 4096
"""Bytes that publishing needs: for the store's folders, and for each entry with its places in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came out of a bundle."""

    manifest: Manifest
    store: Path
    output: Path
    objects: int
    size: int


def unbundle(path: Path, store: Store, output: Path, *, architecture: str = "", observe: Observe) -> Restored:
    """Bring a bundle's objects into the store and its other files into the folder `output`.

    `architecture` is the one to insist on; empty for any.

    Raises:
        SourceError: for a bundle that is damaged, hostile or for other machines, a full disk, an output that is in use.
            The store is then as it was.
    """
    check_output(output)
    name = f"unbundle-{bundle_name(path)}"
    with store.lock(name):
        folder = store.partial(name)
        # What a killed run has left.
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with contextlib.closing(_Scratch(folder, architecture)) as scratch:
                manifest = read_bundle(path, scratch, observe)
                scratch.settle()
                _publish(manifest, folder, store, output, ballast=scratch.ballast)
        except OSError as error:
            raise disk_error(error, f"cannot unpack {path}", "--store or --output names another place") from error
    objects = manifest.objects
    size = sum(member.size for member in objects)
    return Restored(manifest=manifest, store=store.root, output=output, objects=len(objects), size=size)


def check_output(output: Path) -> None:
    """Check that the folder is empty or not there.

    Raises:
        SourceError: when it is neither.
    """
    hint = "--output names another folder"
    if output.is_dir():
        if any(output.iterdir()):
            raise SourceError(f"{output} is not empty; unbundle writes into a new folder", hint=hint)
    elif output.exists() or output.is_symlink():
        raise SourceError(f"{output} exists and is no folder", hint=hint)


class _Scratch:
    """Keeps what comes, each file by its sha256, below the store's folder for half things.

    Every file is on its way to the disk while the next one is unpacked, so that nobody waits for all of it at the end.
    """

    def __init__(self, folder: Path, architecture: str) -> None:
        self.ballast = folder / "ballast"
        self._folder = folder
        self._architecture = architecture
        self._seen: set[str] = set()
        self._skip = False
        self._behind = Behind()
        self._file: FileIO | None = None
        self._pool = ThreadPoolExecutor(THREADS)
        self._syncs: list[Future[None]] = []

    def begin(self, manifest: Manifest) -> None:
        """Refuse a bundle for other machines, and one that does not fit."""
        made_for = manifest.architecture
        if self._architecture and made_for != self._architecture:
            message = f"made for {made_for}, and this machine is {self._architecture}"
            raise SourceError(message, hint="--any-arch unpacks it nevertheless, to carry it on")
        self._folder.mkdir(parents=True)
        room = PUBLISHING + BLOCKS * sum(len(member.keys) for member in manifest.files)
        wanted = room + sum(member.size for member in manifest.files)
        free = shutil.disk_usage(self._folder).free
        if wanted > free:
            message = f"needs {wanted / 1e9:.2f} GB in the store, and {free / 1e9:.2f} GB are free there"
            raise SourceError(message, hint="make room, or --store names another place")
        # A disk that fills up does so before the first file is published, and not in between.
        with self.ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room)

    def start(self, member: Member) -> None:
        """Begin a file, named by nothing but its digest."""
        # Two recipes may have the same text.
        self._skip = member.sha256 in self._seen
        self._seen.add(member.sha256)
        if not self._skip:
            self._behind.do(self._create, self._folder / member.sha256)

    def put(self, piece: bytes) -> None:
        """Go on with it."""
        if not self._skip:
            self._behind.do(self._write, piece)

    def end(self) -> None:
        """Finish it."""
        if not self._skip:
            self._behind.do(self._finish)

    def settle(self) -> None:
        """Wait until all files are on the disk.

        Raises:
            OSError: when one could not be written there.
        """
        self._behind.finish()
        for item in self._syncs:
            item.result()

    def close(self) -> None:
        """Remove what is left."""
        self._behind.stop()
        self._pool.shutdown(cancel_futures=True)
        if self._file:
            self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _create(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)

    def _write(self, piece: bytes) -> None:
        if self._file:
            write_all(self._file.fileno(), piece)

    def _finish(self) -> None:
        if self._file:
            self._file.close()
            self._syncs.append(self._pool.submit(sync, Path(self._file.name), 0o444))


def _publish(manifest: Manifest, scratch: Path, store: Store, output: Path, *, ballast: Path) -> None:
    """Move everything to its place. All of it has been checked; what is left to fail fails before the first move."""
    entries = [
        Entry(
            key=held.key,
            sha256=member.sha256,
            size=member.size,
            file=held.file,
            origin=held.origin,
            note=held.note,
        )
        for member in manifest.objects
        for held in member.keys
    ]
    with _staged(manifest, scratch, output) as staged:
        publish(store, agreed(entries, store), scratch, ballast=ballast)
        # An empty folder of that name gives way; one that has filled up meanwhile does not.
        staged.rename(output)


@contextlib.contextmanager
def _staged(manifest: Manifest, scratch: Path, output: Path) -> Iterator[Path]:
    """Lay the files for people out in a folder beside the one they are for; it is gone afterwards, or renamed."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        for member in manifest.texts:
            path = folder / member.path
            make_folder(path.parent)
            shutil.copyfile(scratch / member.sha256, path)
        folder.chmod(0o755)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda path: sync(path, 0o755 if path.is_dir() else 0o644), folder.rglob("*")))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

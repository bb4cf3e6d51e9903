"""Reads an image twice: first all of it, then the contents of what differs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

from builder.errors import BuildError
from builder.reproduce.archive import Read, read_archive
from builder.reproduce.changes import changes
from builder.reproduce.compare import about_packages
from builder.reproduce.entries import LARGEST_KEPT, read_folder

__all__ = ["Source"]

MOST_CONTENTS = 500
"""So many differing files are looked into; what is behind more of them is one cause, and seen by then."""


class Source:
    """Where the layers of one image can be read."""

    def __init__(self, name: str, folders: Sequence[str], archive: Callable[[], io.RawIOBase | IO[bytes]]) -> None:
        """Take where an engine keeps the layers, the lowest first, and an archive of them for when they are closed.

        Args:
            name: what a person calls the image.
            folders: may be empty, or not readable for this user.
            archive: opens the archive at its beginning.
        """
        self.name = name
        self._folders = tuple(Path(folder) for folder in folders)
        if not all(os.access(folder, os.R_OK | os.X_OK) for folder in self._folders) or os.geteuid() != 0:
            self._folders = ()
        self._archive = archive

    def read(self) -> tuple[Read, ...]:
        """Return what each layer changes, with the content of what says which packages are in them.

        Raises:
            BuildError: they cannot be read.
        """
        found = self._found()
        layers = changes([read.layer for read in found])
        return tuple(Read(layer, read.kept, read.digest) for layer, read in zip(layers, found, strict=True))

    def _found(self) -> tuple[Read, ...]:
        if not self._folders:
            with self._archive() as archive:
                return read_archive(archive, about_packages)
        try:
            return tuple(Read(*read_folder(folder, about_packages)) for folder in self._folders)
        except OSError as error:
            raise BuildError(f"{self.name}: {error.filename}: {error.strerror}") from error

    def looked_into(self, layers: Sequence[Read], paths: Collection[str]) -> tuple[Read, ...]:
        """Return the layers with the content of these paths, too, as many as are looked into.

        Raises:
            BuildError: as `read`.
        """
        some = frozenset(sorted(paths)[:MOST_CONTENTS])
        if not some:
            return tuple(layers)
        if not self._folders:
            with self._archive() as archive:
                again = read_archive(archive, some.__contains__)
            return tuple(Read(a.layer, {**a.kept, **b.kept}, a.digest) for a, b in zip(layers, again, strict=True))
        return tuple(
            Read(read.layer, {**read.kept, **_contents(folder, read, some)}, read.digest)
            for folder, read in zip(self._folders, layers, strict=True)
        )


def _contents(folder: Path, read: Read, paths: Collection[str]) -> dict[str, bytes]:
    found = {}
    for path in paths:
        entry = read.layer.get(path)
        if entry is not None and entry.kind == "file" and entry.size <= LARGEST_KEPT:
            # Its parents are folders of this layer: it was found through no link.
            found[path] = (folder / path).read_bytes()
    return found

"""Small operations on files that last: written down to the disk, readable under any umask, with plain errors."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from builder.errors import SourceError

__all__ = ["BLOCK", "DRAFT", "digest", "draft", "failed", "make_folder", "sync"]

BLOCK = 1 << 20
"""Bytes read or written at once: hashing and copying are at full speed from about here on."""
DRAFT = ".draft-"
"""How the names of drafts begin."""


def digest(path: Path, tell: Callable[[int], None] = lambda _: None) -> str:
    """Return the sha256 of a file's content; `tell` is given the bytes read, block by block."""
    found, block = hashlib.sha256(), memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            found.update(block[:count])
            tell(count)
    return found.hexdigest()


def draft(text: str, folder: Path) -> Path:
    """Write a text to a new file that any umask leaves readable, down to the disk."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=DRAFT)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def sync(path: Path, mode: int | None = None) -> None:
    """Have a file, or the names in a folder, written down to the disk; with `mode`, set that too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if mode is not None:
            os.fchmod(handle, mode)
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot do this to a folder; the rename itself has happened.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder, with those above it, that any umask leaves readable."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
        path.chmod(0o755)


def failed(path: Path, error: OSError) -> NoReturn:
    """Raise what a person is told about an operation that the system refused.

    Raises:
        SourceError: always.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "make room, or use a store on another disk; what is there stays, and the next run goes on from it"
        raise SourceError(f"{path}: {error.strerror}", hint=hint) from error
    raise SourceError(f"{path}: {error.strerror or error}") from error

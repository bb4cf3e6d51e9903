"""Snapshots of images that were read before: an image's id says all that is in it, so none has to be read twice."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import zstandard

from builder.provenance.snapshot import Snapshot

__all__ = ["KEPT", "read_cached", "write_cached"]

KEPT = 20
"""Images that are remembered; some megabytes each."""
FORMAT = "3"
"""Another one where what is kept of an image has changed."""
LARGEST = 2 << 30
"""Bytes that a snapshot may unpack to."""


def read_cached(folder: Path, identity: str) -> Snapshot | None:
    """Return what is remembered of an image, or None; what cannot be read is as good as not there."""
    path = _path(folder, identity)
    try:
        packed = path.read_bytes()
        data = zstandard.ZstdDecompressor().decompress(packed, max_output_size=LARGEST)
        found = msgspec.msgpack.decode(data, type=Snapshot)
    except (OSError, zstandard.ZstdError, msgspec.MsgspecError):
        return None
    if found.id != identity:
        return None
    # The most recently used ones are kept. Whether that can be noted down does not matter.
    try:
        os.utime(path)
    except OSError:
        return found
    return found


def write_cached(folder: Path, snapshot: Snapshot) -> None:
    """Remember an image, and forget those that were not asked for the longest.

    Raises:
        OSError: the folder cannot be written; nothing half-written is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, snapshot.id)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(zstandard.ZstdCompressor(level=3).compress(msgspec.msgpack.encode(snapshot)))
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    there = sorted(folder.glob("*.msgpack.zst"), key=_used, reverse=True)
    for old in there[KEPT:]:
        old.unlink(missing_ok=True)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _path(folder: Path, identity: str) -> Path:
    return folder / f"{FORMAT}-{re.sub(r'[^A-Za-z0-9._-]+', '-', identity)}.msgpack.zst"

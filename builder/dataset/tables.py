"""Reads nuScenes' tables: only the columns that are wanted, and large tables block by block.

A table is a JSON array of flat objects. `sample_data.json` of v1.0-trainval is larger than a gigabyte: read at once, it
alone would take several.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec
from msgspec import Struct

__all__ = [
    "Annotation",
    "Calibrated",
    "Category",
    "Instance",
    "Labels",
    "MapRow",
    "Row",
    "Sample",
    "SampleData",
    "Scene",
    "TableError",
    "read_rows",
]

BLOCK = 16 << 20
_SPACE = b" \t\r\n"


class TableError(Exception):
    """A table that cannot be read: says why, without the file's name."""


class Row(Struct, gc=False):
    """A row of which only the key is wanted."""

    token: str


class Category(Struct, gc=False):
    """A class of things; `index` came with nuScenes-lidarseg."""

    token: str
    index: int | None = None


class Calibrated(Struct, gc=False):
    """A sensor's place on one vehicle."""

    token: str
    sensor_token: str


class Instance(Struct, gc=False):
    """A thing that is annotated in several key frames."""

    token: str
    category_token: str


class MapRow(Struct, gc=False):
    """The mask of one location."""

    filename: str
    log_tokens: list[str]


class Scene(Struct, gc=False):
    """Twenty seconds of driving."""

    token: str
    name: str
    log_token: str
    nbr_samples: int


class Sample(Struct, gc=False):
    """A key frame."""

    token: str
    scene_token: str


class Annotation(Struct, gc=False):
    """A box."""

    sample_token: str
    instance_token: str


class SampleData(Struct, gc=False):
    """One file of one sensor."""

    token: str
    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    filename: str
    is_key_frame: bool


class Labels(Struct, gc=False):
    """The labels of one lidar file."""

    sample_data_token: str
    filename: str


T = TypeVar("T", bound=Struct)


def read_rows(path: Path, kind: type[T], *, block: int = BLOCK) -> Iterator[list[T]]:
    """Yield a table's rows, some thousands at a time.

    Raises:
        TableError: when the file is not a JSON array of objects with the wanted columns, or is cut off.
        OSError: when it cannot be read.
    """
    decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
    try:
        with path.open("rb") as file:
            for part in _parts(file, block):
                yield decoder.decode(part)
    except msgspec.ValidationError as error:
        raise TableError(f"a row is not as the schema says: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TableError(_reason(path, error)) from error


def _parts(file: BinaryIO, block: int) -> Iterator[bytes]:
    """Yield the file as JSON arrays; each ends where a row ends."""
    held = file.read(block)
    if len(held) < block:
        yield held
        return
    held = held.lstrip(_SPACE)
    opened = held.startswith(b"[")
    held = held[1:] if opened else held
    while more := file.read(block):
        held += more
        cut = _row_end(held) if opened else 0
        if cut:
            yield b"[" + held[:cut] + b"]"
            held = held[held.index(b",", cut) + 1 :]
    yield b"[" + held if opened else held


def _row_end(held: bytes) -> int:
    """Return where the last row ends that another one follows: behind its brace; 0 when there is none."""
    start = len(held)
    while (start := held.rfind(b"{", 0, start)) > 0:
        before = held[:start].rstrip(_SPACE) if start < 64 else held[start - 64 : start].rstrip(_SPACE)
        if before.endswith(b","):
            before = before[:-1].rstrip(_SPACE)
            if before.endswith(b"}"):
                return held.rindex(b"}", 0, start) + 1
    return 0


def _reason(path: Path, error: Exception) -> str:
    size = path.stat().st_size
    if not size:
        return "is empty"
    with path.open("rb") as file:
        file.seek(max(0, size - 64))
        end = file.read().rstrip(_SPACE)
    if not end.endswith(b"]"):
        return f"is cut off after {size} bytes"
    return f"is no valid JSON: {error}"

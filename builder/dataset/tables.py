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
TRIES = 8
"""Blocks that are put together before a table counts as damaged: so much of it is held at most."""
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
            yield from _decoded(decoder, _parts(file, block))
    except msgspec.ValidationError as error:
        raise TableError(f"a row is not as the schema says: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TableError(_reason(path, error)) from error


def _decoded(decoder: msgspec.json.Decoder[list[T]], parts: Iterator[tuple[bytes, bool]]) -> Iterator[list[T]]:
    held, tries = b"", 0
    for text, last in parts:
        array = held + text[1:] if held else text
        try:
            rows = decoder.decode(array if last else array + b"]")
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # What looked like the end of a row stood in a text: the next part belongs to it.
            if last or tries == TRIES:
                raise
            held, tries = array + b",", tries + 1
            continue
        held, tries = b"", 0
        yield rows


def _parts(file: BinaryIO, block: int) -> Iterator[tuple[bytes, bool]]:
    """Yield the file as JSON arrays without their closing bracket, but for the last; and whether it is that one."""
    held = file.read(block)
    opened = held.lstrip(_SPACE).startswith(b"[")
    while more := file.read(block):
        held += more
        cut = _row_end(held) if opened else 0
        if cut:
            yield held[:cut], False
            held = b"[" + held[held.index(b",", cut) + 1 :]
    yield held, True


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

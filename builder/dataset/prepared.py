"""What a model's conversion left in its folder: what is finished, of which tables, and whether it is whole.

Pickles are not read here: see templates/scripts/infos.py, which runs in the model's image.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from builder.dataset.files import deep_condition, list_folder
from builder.dataset.tables import Sample, TableError, read_rows
from builder.errors import RunError
from builder.recipe.types import DataEntry

__all__ = ["STAMP", "Stamp", "clear", "complete", "fingerprint", "kept", "read_stamp", "stray", "write_stamp"]

STAMP = "drivebuild-prepared.json"
"""In the model's folder of generated files: what they were made of."""
PART = ".part.npz"
"""End of the name of a file that is being written."""


class Stamp(Struct, frozen=True, kw_only=True):
    """Of which tables a folder was made, and how large each finished file is. No files: it is not finished."""

    schema: int = 1
    model: str
    tables: str
    image: str = ""
    files: Mapping[str, int] = {}


def fingerprint(root: Path, versions: Sequence[str]) -> str:
    """Return a digest of scenes and key frames: another data set, or another part of it, has another.

    Raises:
        RunError: when a table cannot be read.
    """
    digest = hashlib.sha256()
    for version in sorted(versions):
        for table in ("scene", "sample"):
            try:
                digest.update(hashlib.sha256((root / version / f"{table}.json").read_bytes()).digest())
            except OSError as error:
                raise RunError(f"{error.filename}: {error.strerror}") from error
    return digest.hexdigest()


def read_stamp(folder: Path) -> Stamp | None:
    """Return the stamp of a folder; None when there is none that can be read."""
    try:
        return msgspec.json.decode((folder / STAMP).read_bytes(), type=Stamp)
    except (OSError, msgspec.DecodeError):
        return None


def write_stamp(folder: Path, stamp: Stamp) -> None:
    """Write a folder's stamp, whole or not at all.

    Raises:
        RunError: when the folder cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{STAMP}.", dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(stamp), indent=1) + b"\n")
        Path(name).chmod(0o644)
        Path(name).replace(folder / STAMP)
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror}", hint="PREPARED_ROOT in .env names another folder") from error


def sizes(folder: Path, entries: Sequence[DataEntry]) -> dict[str, int]:
    """Return the size in bytes of each generated file, and of all files of a folder; without what is not there."""
    found = {}
    for entry in entries:
        place = folder / entry.path
        with contextlib.suppress(OSError):
            files = place.iterdir() if place.is_dir() else (place,)
            found[entry.path] = sum(file.stat().st_size for file in files)
    return found


def complete(folder: Path, model: str, tables: str, image: str, entries: Sequence[DataEntry]) -> Stamp:
    """Return the stamp of a finished folder."""
    return Stamp(model=model, tables=tables, image=image, files=sizes(folder, entries))


def kept(folder: Path, tables: str, entries: Sequence[DataEntry]) -> bool:
    """Return whether everything was finished, from these tables, and is as it was then."""
    stamp = read_stamp(folder)
    if stamp is None or stamp.tables != tables or not stamp.files:
        return False
    wanted = {entry.path for entry in entries}
    return wanted <= set(stamp.files) and sizes(folder, entries) == dict(stamp.files)


def clear(folder: Path, entries: Sequence[DataEntry]) -> None:
    """Remove the generated files that the recipe names, and nothing else.

    Raises:
        RunError: when one cannot be removed.
    """
    for path in (*(entry.path for entry in entries), STAMP):
        place = folder / path
        try:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{error.filename}: {error.strerror}", hint="it was made by another user") from error


def stray(root: Path, versions: Sequence[str], folder: Path, entry: DataEntry) -> Iterator[str]:
    """Yield what is wrong with a folder that has one file for each key frame, named by its token.

    Raises:
        RunError: when the table of key frames cannot be read.
    """
    version = next((name for name in versions if name != "v1.0-test"), "v1.0-trainval")
    try:
        parts = read_rows(root / version / "sample.json", Sample)
        tokens = {row.token for rows in parts for row in rows}
    except (OSError, TableError) as error:
        raise RunError(f"{version}/sample.json: {error}") from error
    listing = list_folder(folder / entry.path)
    if listing.error:
        yield f"{entry.path}: {listing.error}"
        return
    names = {name.removesuffix(".npz") for name in listing.sound if not name.endswith(PART)}
    if tokens - names:
        yield f"{entry.path}: {len(tokens - names)} of {len(tokens)} files are missing, {min(tokens - names)}.npz say"
    if names - tokens:
        yield f"{entry.path}: {len(names - tokens)} files are of no key frame, {min(names - tokens)}.npz say"
    cut = [name for name in sorted(names & tokens) if deep_condition(folder / entry.path / f"{name}.npz")]
    if cut:
        yield f"{entry.path}: {len(cut)} files are cut off, {cut[0]}.npz say; remove them and prepare again"

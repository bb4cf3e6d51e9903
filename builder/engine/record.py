"""The build record: what one build of one image did, kept as JSON beside its log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from builder.engine.folders import BUILDS, build_folder, state_folder
from builder.engine.log import unwritable
from builder.engine.state import EXPORT
from builder.engine.timings import note_timings

__all__ = [
    "DOCKERFILE",
    "RECORD",
    "BuildRecord",
    "Difference",
    "StageRecord",
    "all_records",
    "read_record",
    "write_record",
]

RECORD = "record.json"
DOCKERFILE = "Dockerfile"
"""Beside the record: the text that the newest build which succeeded was made from."""
KEPT_LOGS = 10


class StageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a build."""

    name: str
    state: str
    seconds: float
    partial: bool = False
    """Whether only some of its steps ran, the others were cached: then the seconds are not the whole stage's."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A stage that did not do what was predicted, and why."""

    stage: str
    did: Literal["run", "cached"]
    reason: Literal["content", "evicted", "elsewhere", "shared"]
    """`content`: what it needs was made again, with the same bytes. `evicted`: the builder no longer had it.
    `elsewhere`: the builder had it, from a build of which there is no record here. `shared`: another build here made it
    while this one lasted."""
    text: str


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One build of one image. A record of a build that failed has no image."""

    tag: str
    model: str
    platform: str
    variant: str
    target: str
    outcome: str
    when: str
    seconds: float
    stages: tuple[StageRecord, ...]
    command: tuple[str, ...]
    log: str
    image_id: str = ""
    digest: str = ""
    size_bytes: int = 0
    engine: str = ""
    drivebuild: str = ""
    sources: tuple[str, ...] = ()
    """Sources that were replaced by local folders: such an image is not what the recipe pins."""
    arguments: tuple[str, ...] = ()
    digests: Mapping[str, str] = {}
    """What was asked for, by stage of the plan: builder/render/keys.py. Older records have none."""
    keys: Mapping[str, str] = {}
    """What BuildKit goes by, by stage of the Dockerfile: builder/render/cachekeys.py."""
    bases: Mapping[str, str] = {}
    """The images it stands on, by their names in the Dockerfile, with the ids that they had in the engine."""
    contexts: Mapping[str, str] = {}
    """Folders that stood for stages, by stage, each with a word for its content."""
    options: Mapping[str, str] = {}
    pinned: Mapping[str, str] = {}
    toolchain: str = ""
    profile: str = ""
    architecture: str = ""
    machine: str = ""
    """The builder's own architecture, where it is another: then what ran in the image was emulated."""
    builder: str = ""
    """Whose cache it went through: a builder's name, and the engine that it belongs to."""
    no_cache: bool = False
    offline: bool = False
    predicted: tuple[str, ...] | None = None
    """Stages that were said to run before it began; None where nothing was known about the builder's cache."""
    executed: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    """Between the two, for a build that succeeded. Empty where they are equal."""
    verified_on_hardware: bool = False
    """Nobody has run it on an Ascend device on drivebuild's behalf."""

    @property
    def ran(self) -> tuple[StageRecord, ...]:
        """Stages that did work."""
        return tuple(stage for stage in self.stages if stage.state == "done" and stage.name != EXPORT)

    @property
    def cached(self) -> tuple[StageRecord, ...]:
        """Stages that were there already."""
        return tuple(stage for stage in self.stages if stage.state == "cached")


# At import, as builder/engine/ledger.py says: threads decode with it.
_DECODER = msgspec.json.Decoder(BuildRecord)


def write_record(record: BuildRecord) -> Path:
    """Write the record of an image; a reader sees the old one or the new one, never half of it.

    Raises:
        BuildError: when the folder cannot be written.
    """
    path = build_folder(record.tag) / RECORD
    text = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    beside = path.with_name(f".{RECORD}.{os.getpid()}")
    try:
        beside.write_bytes(text)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    note_timings(record)
    _forget_old_logs(path.parent)
    return path


def read_record(tag: str) -> BuildRecord | None:
    """Return the record of an image's last build, or None when there is none that can be read."""
    try:
        return _DECODER.decode((build_folder(tag) / RECORD).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


def all_records() -> Iterator[BuildRecord]:
    """Yield the record of every image that was built here and whose record can be read."""
    for path in sorted((state_folder() / BUILDS).glob(f"*/{RECORD}")):
        try:
            yield _DECODER.decode(path.read_bytes())
        except (OSError, msgspec.MsgspecError):
            continue


def _forget_old_logs(folder: Path) -> None:
    for path in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
        path.unlink(missing_ok=True)

"""The build record: what one build of one image did, kept as JSON beside its log."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from builder.engine.folders import build_folder
from builder.engine.log import unwritable
from builder.engine.state import EXPORT

__all__ = ["BuildRecord", "StageRecord", "read_record", "write_record"]

RECORD = "record.json"
KEPT_LOGS = 10


class StageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a build."""

    name: str
    state: str
    seconds: float


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
    _forget_old_logs(path.parent)
    return path


def read_record(tag: str) -> BuildRecord | None:
    """Return the record of an image's last build, or None when there is none that can be read."""
    try:
        return msgspec.json.decode((build_folder(tag) / RECORD).read_bytes(), type=BuildRecord)
    except (OSError, msgspec.MsgspecError):
        return None


def _forget_old_logs(folder: Path) -> None:
    for path in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
        path.unlink(missing_ok=True)

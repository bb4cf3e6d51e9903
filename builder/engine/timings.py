"""How long stages take: what past builds measured, by digest, and by name where a stage has changed since.

One file beside the build records, written under a lock, because two builds may end at once. A record is replaced by the
next build of its tag, which mostly finds everything cached; what a stage took when it really ran stays here.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from builder.engine.folders import state_folder
from builder.engine.state import EXPORT
from builder.plan.stage import TARGETS

if TYPE_CHECKING:
    from builder.engine.record import BuildRecord

__all__ = ["Timing", "Timings", "note_timings", "ran_on", "read_timings", "take_timings"]

FILE = "timings.json"
_SPELT = {target: architecture for architecture, target in TARGETS.items()}
"""Records have BuildKit's names of the architectures."""
KEPT = 5000
"""Timings kept, the newest ones: some hundred images' worth, a megabyte."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """What one stage took when it last ran as a whole."""

    stage: str
    platform: str
    architecture: str
    """Where it ran, in words of `ran_on`; '' where a record of an older drivebuild did not say."""
    seconds: float
    when: str
    """Start of that build, `2026-11-21T09:14:49Z`."""
    digest: str = ""
    """`stage_digests` of builder/render/keys.py; '' where the record did not say."""


def ran_on(architecture: str, machine: str = "") -> str:
    """Return under which word times are kept: `aarch64`, or `aarch64 on x86_64`, which says nothing of real ones."""
    return f"{architecture} on {machine}" if machine else architecture


class _File(msgspec.Struct, frozen=True, kw_only=True):
    timings: tuple[Timing, ...] = ()


# At import, as builder/engine/ledger.py says: threads decode with it.
_DECODER = msgspec.json.Decoder(_File)


@dataclass(frozen=True, slots=True)
class Timings:
    """What is known, ready to be asked."""

    by_digest: Mapping[tuple[str, str], float]
    """Seconds by (digest, architecture)."""
    by_stage: Mapping[tuple[str, str, str], float]
    """Seconds by (platform, stage, architecture), of the newest run."""

    def seconds(self, digest: str, *, platform: str, stage: str, architecture: str) -> float | None:
        """Return what the very same stage took on that architecture, or one of its name on the platform, or None.

        What a record without architecture says counts for x86_64 and aarch64 alike.
        """
        # A record without architecture is older than builds for a foreign one.
        for where in (architecture, "") if " on " not in architecture else (architecture,):
            found = self.by_digest.get((digest, where), self.by_stage.get((platform, stage, where)))
            if found is not None:
                return found
        return None


def read_timings() -> Timings:
    """Return all timings. Where none were kept yet, or the file is damaged, they come from the build records."""
    known = _load()
    timings = known if known is not None else tuple(_of_old_records())
    ordered = sorted(timings, key=lambda item: item.when)
    return Timings(
        by_digest={(item.digest, item.architecture): item.seconds for item in ordered if item.digest},
        by_stage={(item.platform, item.stage, item.architecture): item.seconds for item in ordered},
    )


def note_timings(record: BuildRecord) -> None:
    """Keep what the stages of a build took that ran as a whole; a failed build's finished stages, too.

    Nothing is raised when the folder cannot be written: an estimate is no reason to fail a build.
    """
    _keep(tuple(_of_record(record)))


def take_timings(folder: Path) -> int:
    """Keep what other machines measured: the files of timings below a folder, such as a CI service's artifacts.

    What is newer counts. Returns how many timings there are in the files; one that cannot be read has none.
    """
    found = [item for path in sorted(folder.rglob(FILE)) for item in _read(path) or ()]
    _keep(sorted(found, key=lambda item: item.when))
    return len(found)


def _keep(new: Iterable[Timing]) -> None:
    """Put timings, in the order of their times, among those that are kept."""
    newer = {_key(item): item for item in new}
    if not newer:
        return
    try:
        with _locked():
            known = _load()
            merged = {_key(item): item for item in (known if known is not None else _of_old_records())}
            for key, item in newer.items():
                if key not in merged or merged[key].when <= item.when:
                    merged[key] = item
            newest = sorted(merged.values(), key=lambda item: item.when)[-KEPT:]
            _replace(msgspec.json.format(msgspec.json.encode(_File(timings=tuple(newest))), indent=1) + b"\n")
    except OSError:
        return


def _key(item: Timing) -> tuple[str, ...]:
    # One of each digest; without a digest, one of each name.
    return (item.digest, item.architecture) if item.digest else (item.platform, item.stage, item.architecture)


def _of_record(record: BuildRecord) -> Iterator[Timing]:
    for stage in record.stages:
        if stage.state == "done" and not stage.partial and stage.name not in (EXPORT, *record.contexts):
            yield Timing(
                stage=stage.name,
                platform=record.platform,
                architecture=ran_on(_SPELT.get(record.architecture, record.architecture), record.machine),
                seconds=stage.seconds,
                when=record.when,
                digest=record.digests.get(stage.name, ""),
            )


def _of_old_records() -> Iterable[Timing]:
    """Return what the records of builds say, those from before timings were kept.

    They do not tell a stage that ran as a whole from one of which some steps were cached: the longest time counts.
    """
    from builder.engine.record import all_records

    longest: dict[tuple[str, ...], Timing] = {}
    for record in all_records():
        for item in _of_record(record):
            key = _key(item)
            if key not in longest or item.seconds > longest[key].seconds:
                longest[key] = item
    return longest.values()


def _load() -> tuple[Timing, ...] | None:
    return _read(state_folder() / FILE)


def _read(path: Path) -> tuple[Timing, ...] | None:
    try:
        return _DECODER.decode(path.read_bytes()).timings
    except (OSError, msgspec.MsgspecError):
        return None


def _replace(text: bytes) -> None:
    path = state_folder() / FILE
    beside = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        beside.write_bytes(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _locked() -> Iterator[None]:
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with Path(folder / "timings.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

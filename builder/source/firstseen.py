"""Looks at things whose checksum nobody publishes: in a store, behind a URL, in a registry. The first look holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import DrivebuildError, SourceError
from builder.plan.firstseen import FIRST_SEEN, Record, Unpublished, parse_records, recorded, records_text
from builder.source.parallel import Task, run_all
from builder.source.runs import Runner, Stop, finished
from builder.source.store import Store
from builder.source.tree import write_text

__all__ = ["Look", "Outcome", "Seen", "look_image", "look_store", "read_records", "review", "surplus", "write_records"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Seen:
    """What something is now."""

    sha256: str
    size: int
    """Bytes."""


Look = Callable[[Unpublished, Stop], Seen]
"""Says what something is now, in a thread that may be told to stop; a SourceError says why it cannot."""
AT_ONCE = 8
"""Things that are looked at side by side."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of looking at several things."""

    records: dict[str, Record]
    """All records there are now."""
    new: list[Record] = field(default_factory=list)
    same: list[Record] = field(default_factory=list)
    replaced: list[tuple[Record, Record]] = field(default_factory=list)
    """What was recorded, and what is recorded instead."""
    differing: list[str] = field(default_factory=list)
    missed: dict[str, str] = field(default_factory=dict)
    """Why something could not be looked at, by its key."""


def read_records(folder: Path) -> dict[str, Record]:
    """Return the records of the lock file in a folder of locks, none where there is no file.

    Raises:
        PlanError: when the file is not such a lock.
        SourceError: when it cannot be read.
    """
    path = folder / FIRST_SEEN
    try:
        return parse_records(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def write_records(folder: Path, records: Mapping[str, Record]) -> None:
    """Write the lock file, or remove it when nothing is recorded any more.

    Raises:
        SourceError: when the file cannot be written.
    """
    if records:
        write_text(folder / FIRST_SEEN, records_text(records.values()))
    else:
        (folder / FIRST_SEEN).unlink(missing_ok=True)


def surplus(records: Mapping[str, Record], things: Iterable[Unpublished]) -> dict[str, str]:
    """Return the records that name nothing any more, with the reason, by key."""
    known = {thing.key: thing for thing in things}
    found = {}
    for key, record in records.items():
        if key not in known:
            found[key] = "no recipe has it without a checksum"
        elif known[key].mark != record.mark:
            found[key] = f"its URL is another one now: {known[key].url}"
    return found


def review(
    things: Sequence[Unpublished],
    records: Mapping[str, Record],
    look: Look,
    today: str,
    *,
    replace: Collection[str] = (),
) -> Outcome:
    """Look at things and compare them with what was recorded. Only keys in `replace` are recorded anew.

    Two things behind one URL are looked at once.

    Raises:
        SourceError: when the disk is full or cannot be written.
    """
    outcome = Outcome(records=dict(records))
    wanted = {(thing.kind, thing.url): thing for thing in reversed(things)}
    tasks = [_task(look, thing) for thing in wanted.values()]
    # At once: a host that does not answer takes its time, and there may be several.
    answers = dict(zip(wanted, run_all(tasks, at_once=AT_ONCE), strict=True))
    for thing in things:
        answer = answers[thing.kind, thing.url]
        if isinstance(answer, str):
            outcome.missed[thing.key] = answer
        else:
            _compare(thing, answer, today, replace, outcome)
    return outcome


def _task(look: Look, thing: Unpublished) -> Task[Seen | str]:
    def answer(stop: Stop) -> Seen | str:
        try:
            return look(thing, stop)
        except SourceError as error:
            # A full disk is nothing that the host has done.
            if isinstance(error.__cause__, OSError):
                raise
            return " ".join(f"{error.message}; {error.hint}".split()) if error.hint else " ".join(error.message.split())

    return answer


def _compare(thing: Unpublished, seen: Seen, today: str, replace: Collection[str], outcome: Outcome) -> None:
    record = Record(key=thing.key, sha256=seen.sha256, size=seen.size, date=today, mark=thing.mark)
    known = recorded(thing, outcome.records)
    if known and known.sha256 == seen.sha256:
        outcome.same.append(known)
    elif known and thing.key not in replace:
        outcome.differing.append(
            f"{thing.key} is not what it was: {thing.url}\n"
            f"  recorded sha256:{known.sha256} {known.size} bytes, first seen on {known.date}\n"
            f"  seen     sha256:{seen.sha256} {seen.size} bytes"
        )
    else:
        outcome.records[thing.key] = record
        if known:
            outcome.replaced.append((known, record))
        else:
            outcome.new.append(record)


def look_store(thing: Unpublished, store: Store) -> Seen | None:
    """Return what a store has under a thing's URL, or None."""
    entry = store.find(f"url:{thing.url}")
    return Seen(entry.sha256, entry.size) if entry else None


def look_image(reference: str, runner: Runner) -> Seen:
    """Return the digest and size of the manifest that a registry has under an image's name, for all architectures.

    Raises:
        SourceError: when the registry does not answer, or docker is not there.
    """
    words = ("docker", "buildx", "imagetools", "inspect", reference, "--format", "{{json .Manifest}}")
    try:
        done = finished(runner, words)
    except DrivebuildError as error:
        raise SourceError(error.message) from error
    if done.code != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SourceError(lines[-1] if lines else f"docker ended with {done.code}")
    try:
        answer = json.loads(done.stdout)
        digest, size = answer["digest"], answer["size"]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"docker says no digest of {reference}: {done.stdout[:80]!r}") from error
    if not isinstance(digest, str) or not _DIGEST.match(digest) or not isinstance(size, int):
        raise SourceError(f"docker says no digest of {reference}: {digest!r}")
    return Seen(digest.removeprefix("sha256:"), size)

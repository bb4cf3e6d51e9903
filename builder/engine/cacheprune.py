"""BuildKit's cache, brought down to a budget. It does not know who made what: all that the builder has is meant."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.engine.buildcache import parse_size
from builder.engine.cacherecords import Record, parse_records
from builder.engine.process import Argv, CommandMissingError, Runner
from builder.errors import BuildError

__all__ = ["Pruned", "Usage", "parse_usage", "prune", "prune_command", "read_usage"]

_LINES = {"shared": "shared", "private": "private", "reclaimable": "reclaimable", "total": "total"}
_AT_ONCE = 100
"""Records of one command: BuildKit holds every record of its cache against all of their ids, more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a builder's cache takes, in bytes as `docker buildx du` rounds them."""

    total: int
    reclaimable: int
    """What no running build holds."""
    shared: int
    """Layers of images as well: they are freed when both are gone."""
    records: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a prune did of what it was asked."""

    gone: tuple[Record, ...]
    stayed: tuple[Record, ...] = ()
    """What was used again meanwhile, or what stands on it."""

    @property
    def bytes(self) -> int:
        """What is not in the cache any more."""
        return sum(each.bytes for each in self.gone)


def read_usage(runner: Runner, builder: str = "") -> Usage:
    """Return what a builder's cache takes, and its records.

    Raises:
        BuildError: when the builder does not say.
    """
    words: Argv = ("docker", "buildx", "du", "--verbose", *_of(builder))
    try:
        said = runner.run(words)
    except CommandMissingError as error:
        raise BuildError(error.message) from error
    usage = parse_usage(said.text, time.time())
    if said.code != 0 or usage is None:
        last = (said.complaint or said.text).splitlines()[-1:]
        message = f"builder {builder or 'of this shell'}: it does not say what its cache takes"
        raise BuildError(message + "".join(f"\n  | {line}" for line in last), hint="`docker buildx ls` has them all")
    return usage


def _of(builder: str) -> Argv:
    return ("--builder", builder) if builder else ()


def parse_usage(text: str, now: float = 0.0) -> Usage | None:
    """Read what `docker buildx du --verbose` prints: records, and sums below them; None when these are not there."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        size = parse_size(value) if colon and name.strip().lower() in _LINES else None
        if size is not None:
            found[name.strip().lower()] = size
    if "total" not in found:
        return None
    total = found["total"]
    return Usage(
        total=total,
        reclaimable=found.get("reclaimable", total),
        shared=found.get("shared", 0),
        records=parse_records(text, now),
    )


def prune_command(records: Sequence[Record], seconds: int, builder: str = "") -> Argv:
    """Return the command that removes records by their ids, if they were not used for so many seconds."""
    # buildx takes one value of a filter, as an expression; BuildKit goes from leaves to roots as far as it gets.
    ids = "|".join(each.id for each in records)
    words = ["docker", "buildx", "prune", "--force", "--filter", f"id=^({ids})$"]
    words += ["--filter", f"until={seconds}s"] if seconds else []
    return (*words, *_of(builder))


def prune(runner: Runner, records: Sequence[Record], seconds: int, builder: str = "") -> Pruned:
    """Remove records, leaves first, as `choose` has put them; return what is gone, and what stayed.

    Raises:
        BuildError: when the builder refuses.
    """
    left = list(records)
    while left:
        for batch in _batches(left):
            said = runner.run(prune_command(batch, seconds, builder))
            if said.code != 0:
                raise BuildError(f"the build cache was not pruned: {said.complaint or said.text}")
        there = {each.id for each in read_usage(runner, builder).records}
        still = [each for each in left if each.id in there]
        if len(still) == len(left):
            break
        left = still
    stayed = {each.id for each in left}
    return Pruned(gone=tuple(each for each in records if each.id not in stayed), stayed=tuple(left))


def _batches(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    return (records[first : first + _AT_ONCE] for first in range(0, len(records), _AT_ONCE))

"""BuildKit's cache, brought down to a budget. It does not know who made what: all that the builder has is meant."""

from __future__ import annotations

from dataclasses import dataclass

from builder.engine.buildcache import parse_size
from builder.engine.process import Argv, CommandMissingError, Runner
from builder.errors import BuildError

__all__ = ["Usage", "expected_bytes", "parse_usage", "prune", "prune_command", "read_usage"]

_LINES = {"shared": "shared", "private": "private", "reclaimable": "reclaimable", "total": "total"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a builder's cache takes, in bytes as `docker buildx du` rounds them."""

    total: int
    reclaimable: int
    """What no running build holds."""
    shared: int
    """Layers of images as well: they are freed when both are gone."""


def read_usage(runner: Runner, builder: str = "") -> Usage:
    """Return what a builder's cache takes.

    Raises:
        BuildError: when the builder does not say.
    """
    words: Argv = ("docker", "buildx", "du", *(("--builder", builder) if builder else ()))
    try:
        said = runner.run(words)
    except CommandMissingError as error:
        raise BuildError(error.message) from error
    usage = parse_usage(said.text)
    if said.code != 0 or usage is None:
        last = (said.complaint or said.text).splitlines()[-1:]
        message = f"builder {builder or 'of this shell'}: it does not say what its cache takes"
        raise BuildError(message + "".join(f"\n  | {line}" for line in last), hint="`docker buildx ls` has them all")
    return usage


def parse_usage(text: str) -> Usage | None:
    """Read the sums below the table of `docker buildx du`; None when they are not there."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        size = parse_size(value) if colon and name.strip().lower() in _LINES else None
        if size is not None:
            found[name.strip().lower()] = size
    if "total" not in found:
        return None
    total = found["total"]
    return Usage(total=total, reclaimable=found.get("reclaimable", total), shared=found.get("shared", 0))


def prune_command(budget: int, hours: int, builder: str = "") -> Argv:
    """Return the command that removes what was used longest ago until no more than `budget` bytes are left.

    Args:
        budget: bytes of cache that may stay; 0 for none.
        hours: only what was not used for so long; 0 for all.
        builder: a builder of buildx'; the one of this shell by default.
    """
    words = ["docker", "buildx", "prune", "--force", "--keep-storage", str(budget)]
    words += ["--filter", f"until={hours}h"] if hours else []
    return (*words, *(("--builder", builder) if builder else ()))


def expected_bytes(usage: Usage, budget: int) -> int:
    """Return how many bytes of cache records a budget takes; an age may leave more of them."""
    return min(usage.reclaimable, max(0, usage.total - budget))


def prune(runner: Runner, budget: int, hours: int, builder: str = "") -> int | None:
    """Bring a builder's cache down to a budget; return the bytes that BuildKit says it removed, None if it does not.

    Raises:
        BuildError: when the builder refuses.
    """
    said = runner.run(prune_command(budget, hours, builder))
    if said.code != 0:
        raise BuildError(f"the build cache was not pruned: {said.complaint or said.text}")
    totals = [line for line in said.text.splitlines() if line.lower().startswith("total:")]
    return parse_size(totals[-1].partition(":")[2]) if totals else None

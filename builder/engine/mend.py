"""Layers that the engine has lost of its build cache: which stages have to run again, so that nothing else must.

Docker's own image store counts in memory which records of the build cache have a layer, and after a restart only those
that a build has wanted since (moby, daemon/internal/builder-next/adapters/snapshot: `getLayer` and `Remove`; still so
in August 2026). Two records of equal content share a layer, and drivebuild makes layers that are equal whenever they
are built. When the engine then collects the one record, the other's layer goes with it, and every build that stands on
it ends with "layer does not exist". No restart mends that; a stage that runs once more does. A disk that was full has
the same end.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from builder.engine.command import Choices, from_cache
from builder.engine.state import Failure
from builder.engine.target import target_of
from builder.plan.stage import Plan

__all__ = ["LOST_OF_CACHE", "looked_at", "lost_of_cache", "stands_on"]

LOST_OF_CACHE = r"layer does not exist|/overlay2/\S*: no such file or directory"


def lost_of_cache(failure: Failure) -> bool:
    """Return whether a step, or the export, failed because the cache has a record of a layer that is gone."""
    return re.search(LOST_OF_CACHE, failure.error) is not None


def stands_on(plan: Plan, choices: Choices, failed: str) -> tuple[str, ...]:
    """Return the stages whose layers one of them may be, each after those it begins from.

    Args:
        plan: what is built.
        choices: what was asked of it; folders that stand for stages have no layers.
        failed: the stage that failed; any other word, such as the export's, is for all that the image consists of.
    """
    wanted = set((failed, *plan.needs(failed)) if failed in plan.names else (target_of(plan, choices.until),))
    for stage in reversed(plan.stages):
        if stage.name in wanted:
            wanted.add(stage.base)
    return tuple(name for name in plan.names if name in wanted and name not in choices.folders)


def looked_at(choices: Choices, stage: str, tag: str, *, again: Collection[str] = ()) -> Choices:
    """Return the choices of a build that makes an image of one stage: it wants each of its layers."""
    return replace(from_cache(choices), until=stage, tag=tag, load=True, again=tuple(again))

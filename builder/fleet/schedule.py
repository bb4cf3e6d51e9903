"""In which order images are begun. Pure.

Only the order is chosen here. What runs at a time within and between the builds that have begun is BuildKit's: it knows
each stage's needs, and it merges equal stages of concurrent builds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Stage", "order_of"]


@dataclass(frozen=True, slots=True)
class Stage:
    """What the order goes by."""

    digest: str
    seconds: float
    """What it took when it last ran, or a guess."""


def order_of(images: Mapping[str, tuple[Stage, ...]]) -> tuple[str, ...]:
    """Return the names of images in the order to begin them in.

    Next is always the one whose stages are worth most, among those that no image before it has: a stage's seconds,
    times the images still waiting for it. So what most need is begun first and the others find it running or done; and
    when only leaves are left, the longest goes first, which keeps several builders busy to the end (Graham's LPT: with
    m at a time at most 4/3 - 1/(3m) times the best order of independent leaves). Equal ones keep their order.
    """
    waiting = {name: {stage.digest: stage.seconds for stage in stages} for name, stages in images.items()}
    users: dict[str, int] = {}
    for stages in waiting.values():
        for digest in stages:
            users[digest] = users.get(digest, 0) + 1
    begun: set[str] = set()
    order: list[str] = []
    while waiting:
        name = max(waiting, key=lambda each: _worth(waiting[each], users, begun))
        order.append(name)
        stages = waiting.pop(name)
        begun.update(stages)
        for digest in stages:
            users[digest] -= 1
    return tuple(order)


def _worth(stages: Mapping[str, float], users: Mapping[str, int], begun: set[str]) -> float:
    return sum(seconds * users[digest] for digest, seconds in stages.items() if digest not in begun)

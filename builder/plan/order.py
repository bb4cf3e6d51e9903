"""A stable topological order, and circles reported as a path. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from builder.errors import PlanError
from builder.recipe.check import cycle

__all__ = ["in_order"]


def in_order(needs: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return the keys of `needs`, each after the keys it needs.

    Stable: what may stand in any order stands in the order of `needs`. Lazy: a key that is needed is placed
    just before the first key that needs it, and no earlier. Needs that are not keys are ignored.

    Raises:
        PlanError: when keys need each other in a circle; the message spells the circle.
    """
    placed: dict[str, None] = {}
    for start in needs:
        # The way down, each with the needs that are still to be placed: no recursion, a chain may be long.
        trail, way = [(start, iter(needs[start]))], {start}
        while trail:
            name, left = trail[-1]
            need = next((item for item in left if item in needs and item not in placed), None)
            if need is None:
                trail.pop()
                way.discard(name)
                placed.setdefault(name)
            elif need in way:
                raise PlanError(f"stages need each other in a circle: {' -> '.join(cycle(needs))}")
            else:
                trail.append((need, iter(needs[need])))
                way.add(need)
    return tuple(placed)

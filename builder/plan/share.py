"""Which stages are the same for several images. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from builder.plan.stage import Plan, StageSpec

__all__ = ["sharers", "stage_keys"]


def stage_keys(plan: Plan) -> dict[str, object]:
    """Return a key for each stage: equal keys mean equal instructions over equal inputs, all the way down.

    This is what BuildKit decides by, too: a stage's own text and the content of all it starts from and copies.
    """
    keys: dict[str, object] = {}
    for stage in plan.stages:
        needs = tuple(keys[need] for need in plan.needs(stage.name))
        keys[stage.name] = hash((_frozen(stage), needs))
    return keys


def _frozen(stage: StageSpec) -> tuple[object, ...]:
    return (stage.name, stage.template, stage.base, _freeze(stage.inputs), stage.uses)


def _freeze(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple((key, _freeze(item)) for key, item in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value


def sharers(plan: Plan, others: Iterable[Plan]) -> dict[str, tuple[str, ...]]:
    """Return for each stage of `plan` the models among `others` that have the very same stage."""
    own = stage_keys(plan)
    found: dict[str, list[str]] = {name: [] for name in own}
    for other in others:
        if other.model.name == plan.model.name:
            continue
        theirs = stage_keys(other)
        for name, key in own.items():
            if theirs.get(name) == key:
                found[name].append(other.model.name)
    return {name: tuple(models) for name, models in found.items()}

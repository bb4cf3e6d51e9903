"""Which stages are worth a job of their own, before the images that need them. Pure.

Images of one platform and architecture have most of their stages in common. On machines of their own each would build
them again; so what several need is built first, pushed to a registry's cache, and the images find it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from builder.plan.stage import TARGETS, StageSpec
from builder.recipe.types import Architecture
from builder.render.keys import SHORT
from builder.render.matrix import Build, Entry, Estimate, Runner, Seconds, SharedJob, seconds_of

__all__ = ["Shared", "shared_jobs"]

WORTH = 120.0
"""Seconds that a stage must take for a place in a shared job: less is gone with pulling a cache."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The shared jobs of one platform and architecture, and the digests of all stages that they leave built."""

    jobs: tuple[SharedJob, ...] = ()
    done: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Stage:
    """A stage of one digest, over all images that have it."""

    spec: StageSpec
    entry: Entry
    """One of the images: its command builds the stage."""
    seconds: float
    measured: bool
    below: frozenset[str]
    """Digests of the stage and of all it needs."""
    users: int = 0
    variants: set[str] = field(default_factory=set)

    @property
    def saves(self) -> float:
        return self.seconds * (self.users - 1)


def shared_jobs(
    found: Iterable[Entry], *, seconds: Seconds, runner: Callable[[Architecture], Runner]
) -> dict[tuple[str, Architecture], Shared]:
    """Return the shared jobs by platform and architecture; where nothing is worth one, there is none.

    One job has what several variants need, and another one what several images of one variant need; but where the
    second would have to build half as much of the first again as it has of its own, both are one.
    """
    groups: dict[tuple[str, Architecture], list[Entry]] = {}
    for entry in found:
        groups.setdefault(entry.group, []).append(entry)
    return {group: _of_group(members, seconds, runner) for group, members in groups.items()}


def _of_group(members: list[Entry], seconds: Seconds, runner: Callable[[Architecture], Runner]) -> Shared:
    if len(members) < 2:
        return Shared()
    stages = _stages(members, seconds)
    worth = {digest: stage for digest, stage in stages.items() if stage.users > 1 and stage.seconds >= WORTH}
    variants = {entry.plan.variant for entry in members}
    parts: dict[str, dict[str, _Stage]] = {"": {}}
    for digest, stage in worth.items():
        alone = len(stage.variants) == 1 and len(variants) > 1
        parts.setdefault(next(iter(stage.variants)) if alone else "", {})[digest] = stage
    for variant in [name for name in parts if name]:
        own = sum(stage.seconds for stage in parts[variant].values())
        below = frozenset().union(*(stage.below for stage in parts[variant].values()))
        again = sum(stage.seconds for digest, stage in parts[""].items() if digest in below)
        if 2 * again > own:
            parts[""] |= parts.pop(variant)
    jobs = tuple(_job(variant, part, stages, runner) for variant, part in parts.items() if part)
    return Shared(jobs, frozenset().union(*(stage.below for stage in worth.values())))


def _stages(members: list[Entry], seconds: Seconds) -> dict[str, _Stage]:
    stages: dict[str, _Stage] = {}
    for entry in members:
        for spec in entry.plan.stages:
            digest = entry.digests[spec.name]
            stage = stages.get(digest)
            if stage is None:
                below = {digest}.union(*(stages[entry.digests[need]].below for need in _needs(spec, entry.digests)))
                took, measured = seconds_of(entry, spec.name, spec.minutes, seconds)
                stage = stages[digest] = _Stage(spec, entry, took, measured, frozenset(below))
            stage.users += 1
            stage.variants.add(entry.plan.variant)
    return stages


def _needs(spec: StageSpec, known: Mapping[str, str]) -> Iterable[str]:
    return (need for need in (spec.base, *spec.uses) if need in known)


def _job(
    variant: str, part: Mapping[str, _Stage], stages: Mapping[str, _Stage], runner: Callable[[Architecture], Runner]
) -> SharedJob:
    # A stage that another one of the job needs is built with that one.
    inner = {below for digest, stage in part.items() for below in stage.below if below != digest}
    tops = {digest: stage for digest, stage in part.items() if digest not in inner}
    first = next(iter(tops.values())).entry
    (platform, architecture), target = first.group, TARGETS[first.architecture]
    words = [platform, *([variant] if variant else [])]
    builds = tuple(_build(digest, stage, part) for digest, stage in tops.items())
    all_below = [stages[digest] for digest in dict.fromkeys(item for top in tops.values() for item in top.below)]
    rough = [item for item in all_below if item.spec.minutes and not item.measured]
    guess = Estimate(
        sum(item.seconds for item in all_below),
        sum(item.measured for item in all_below),
        tuple({item.spec.name for item in rough}),
        sum(item.seconds for item in rough),
    )
    return SharedJob(
        name=" ".join(["shared", *words, architecture]),
        id="-".join(["shared", *words, target]).replace(".", "_"),
        platform=platform,
        architecture=architecture,
        target=target,
        docker_platform=f"linux/{target}",
        runner=runner(architecture),
        minutes=guess.minutes(),
        no_minutes=guess.why_not(first),
        timeout=guess.timeout(),
        images=max(stage.users for stage in tops.values()),
        builds=builds,
        script="\n".join(f"{build.arguments}\t{build.cache}\t{build.moving}" for build in builds),
        base=first.base,
        base_id=first.base_id,
    )


def _build(digest: str, stage: _Stage, part: Mapping[str, _Stage]) -> Build:
    entry, name = stage.entry, stage.spec.name
    moving = f"{entry.plan.platform.name}-{TARGETS[entry.architecture]}-{name}"
    within = [item for below, item in part.items() if below in stage.below]
    saves = sum(item.saves for item in within) / 60 if all(item.measured for item in within) else None
    return Build(
        stage=name,
        digest=digest,
        tag=entry.plan.tag,
        arguments=" ".join((*entry.plan.arguments, "--until", name)),
        cache=f"{moving}-{digest[:SHORT]}",
        moving=moving,
        saves=None if saves is None else round(saves, 1),
    )

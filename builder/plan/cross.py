"""The plan of an image for another processor than the builder's, in which what can be is cross-compiled. Pure.

A stage that is cross-compiled keeps its name, so whoever needs it goes on as before: it takes what the stage
`<name>-cross` made on the builder's own processor, and checks it on the target's. What no cross compiler is used for
runs as it is written, under emulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from builder.plan.order import in_order
from builder.plan.stage import Plan, StageSpec
from builder.recipe.types import Architecture, Catalog, Cross, CrossTarget, Platform, System

__all__ = ["CROSS_BASE", "CrossReport", "at_full_speed", "cross_built", "cross_report", "machine_image"]

CROSS_BASE = "cross-base"
"""The stage of the cross compiler, on the builder's own processor."""
_CROSS_PYTHON = "cross-python"
"""That of the Python that a cross compile of Python runs, there too."""
_TRAINED = "python-trained"
"""The template of the stage that runs an instrumented Python, for the processor it is for."""
_TRAINING = 10
"""Minutes of that under emulation, with the shipped platform's task."""
_CROSSED = "crossed"
"""The input that names the stage which a cross-compiled one takes its files from."""
_GUESSED: Mapping[Architecture, str] = {"x86_64": "x86_64-pc-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
"""What config.guess says on these machines: so what configure writes down is what it would there."""

_SOURCE = ("version", "source", "archive")
_PYTHON = (*_SOURCE, "series", "configure")
_TCMALLOC = (*_SOURCE, "packages", "page_kib", "page_shift")
"""What a cross compile is told of a stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossReport:
    """How the stages of a plan are built for another processor."""

    crossed: tuple[str, ...]
    """Those that are compiled on the builder's own processor."""
    emulated: Mapping[str, str]
    """Those that compile under emulation, each with the reason why no cross compiler does it."""
    trained: Mapping[str, int] = field(default_factory=dict)
    """Those that run a cross-compiled program under emulation for its profile, each with the minutes that it takes."""
    reason: str = ""
    """Why nothing at all is cross-compiled; '' where something is."""


def machine_image(platform: Platform) -> str:
    """Return the name by which a cross stage calls the platform's base image for the builder's own processor.

    A registry's image has all architectures under one name. One that drivebuild makes itself has one only; a build
    context of this name hands over the other.
    """
    base = platform.base
    return f"{base.image}-build-machine" if base.bootstrap else base.image


def cross_built(catalog: Catalog, plan: Plan, *, target: Architecture, machine: Architecture) -> Plan:
    """Return the plan that compiles for `target` on a `machine`: unchanged where no cross compiler can be used."""
    system = catalog.systems[plan.platform.system]
    found = _cross(system, target, machine)
    if found is None:
        return plan
    made = dict(_crossed(plan, target, found[1]))
    if not made:
        return plan
    stages = {stage.name: stage for stage in _arranged(plan, *found, made)}
    order = in_order({name: (stage.base, *stage.uses) for name, stage in stages.items()})
    return replace(plan, stages=tuple(stages[name] for name in order))


def cross_report(catalog: Catalog, plan: Plan, *, target: Architecture, machine: Architecture) -> CrossReport:
    """Return which stages are cross-compiled for `target` on a `machine`, and which are emulated and why.

    `plan` is one that `cross_built` returned, or one that it was not asked about: then all that compiles is emulated.
    """
    if target == machine:
        return CrossReport(crossed=(), emulated={})
    crossed = tuple(stage.name for stage in plan.stages if _CROSSED in stage.inputs)
    reason = _why_not(catalog.systems[plan.platform.system], target)
    if not reason and not crossed:
        able = cross_built(catalog, plan, target=target, machine=machine) is not plan
        reason = "it was not asked for" if able else "none of its stages can be"
    return CrossReport(
        crossed=crossed,
        emulated=dict(_emulated(plan, target)),
        trained={stage.name: stage.minutes for stage in plan.stages if stage.template == _TRAINED},
        reason="" if crossed else reason,
    )


def at_full_speed(plan: Plan, name: str) -> bool:
    """Whether a stage runs on the builder's own processor, or does no more than take what was compiled there."""
    stages = {stage.name: stage for stage in plan.stages}
    if _CROSSED in stages[name].inputs:
        return True
    while name in stages and name != CROSS_BASE:
        name = stages[name].base
    return name == CROSS_BASE


def _cross(system: System, target: Architecture, machine: Architecture) -> tuple[Cross, CrossTarget] | None:
    if target == machine or system.cross is None or target not in system.cross.targets:
        return None
    return system.cross, system.cross.targets[target]


def _why_not(system: System, target: Architecture) -> str:
    """Return why nothing on a system is cross-compiled; '' where something may be."""
    if system.cross is None:
        return f"no cross compiler of {system.title} is known ({system.no_cross or 'its recipe names none'})"
    if target not in system.cross.targets:
        return f"{system.title} has no cross compiler for {target}"
    return ""


def _emulated(plan: Plan, target: Architecture) -> Iterator[tuple[str, str]]:
    """Yield the stages that compile on the target's processor, and why."""
    for stage in plan.stages:
        if _CROSSED in stage.inputs:
            continue
        if stage.template == "python" and stage.inputs["shared"]:
            yield stage.name, "a shared libpython for CANN was never tried through a cross compiler"
        elif stage.template == "python" and not _of_the_system(stage):
            yield stage.name, "its compiler is not the distribution's, which alone has a cross compiler here"
        elif stage.template in ("python", "tcmalloc"):
            yield stage.name, "no cross compiler is used for it"
        elif stage.template == "wheel" and not stage.inputs["pure"]:
            yield stage.name, f"its build asks PyTorch how to compile, and that runs on {target} only"
        elif stage.template in ("pytorch", "torch-npu"):
            yield stage.name, f"its build runs what it has compiled, on {target}"


def _of_the_system(stage: StageSpec) -> bool:
    """Whether a Python is compiled with the system's own compiler: it is the one that there is a cross compiler of."""
    return bool(stage.inputs["compiler"] == "gcc")


def _crossed(plan: Plan, target: Architecture, to: CrossTarget) -> Iterator[tuple[str, tuple[StageSpec, ...]]]:
    """Yield by name the stages that stand in for one: what compiles, and last what takes it and checks it."""
    own: dict[str, object] = {"triplet": to.triplet, "host": _GUESSED[target]}
    for stage in plan.stages:
        if stage.template == "python" and _of_the_system(stage) and not stage.inputs["shared"]:
            inputs = own | {key: stage.inputs[key] for key in _PYTHON}
            makes = (
                _trained(stage, inputs)
                if stage.inputs["variant"] == "lto"
                else (_compiled(stage, _CROSS_PYTHON, inputs),)
            )
            yield stage.name, (*makes, _takes(stage, ("version", "series", "variant")))
        elif stage.template == "tcmalloc":
            inputs = own | {key: stage.inputs[key] for key in _TCMALLOC}
            yield stage.name, (_compiled(stage, CROSS_BASE, inputs), _takes(stage, ("version", "page_kib")))


def _compiled(stage: StageSpec, base: str, inputs: Mapping[str, object]) -> StageSpec:
    """Return what compiles a stage on the builder's own processor."""
    name, template = f"{stage.name}-cross", f"{stage.template}-cross"
    return replace(stage, name=name, template=template, base=base, inputs=inputs, uses=_sources(stage))


def _trained(stage: StageSpec, inputs: Mapping[str, object]) -> tuple[StageSpec, ...]:
    """Return what compiles a Python with its profile: only what takes the profile runs on the target's processor."""
    name = stage.name
    counts = StageSpec(
        name=f"{name}-instrumented",
        template="python-instrumented",
        base=_CROSS_PYTHON,
        inputs={**inputs, "lto_option": stage.inputs["lto_option"]},
        uses=_sources(stage),
        minutes=3,
    )
    trained = StageSpec(
        name=f"{name}-trained",
        template=_TRAINED,
        base="base",
        inputs={"instrumented": counts.name, "profile_task": stage.inputs["profile_task"]},
        uses=(counts.name,),
        minutes=_TRAINING,
    )
    final = StageSpec(
        name=f"{name}-cross",
        template="python-cross-lto",
        base=counts.name,
        inputs={"trained": trained.name, **{key: inputs[key] for key in ("version", "series", "triplet")}},
        uses=(trained.name,),
        minutes=3,
    )
    return counts, trained, final


def _takes(stage: StageSpec, checked: Iterable[str]) -> StageSpec:
    """Return what stands in the place of a stage; of its inputs it gets what its checks ask for."""
    made = f"{stage.name}-cross"
    return replace(
        stage,
        template=f"{stage.template}-crossed",
        base="base",
        inputs={_CROSSED: made, **{key: stage.inputs[key] for key in checked}},
        uses=(made,),
        minutes=0,
    )


def _sources(stage: StageSpec) -> tuple[str, ...]:
    return tuple(use for use in stage.uses if use.startswith("src-"))


def _arranged(
    plan: Plan, cross: Cross, to: CrossTarget, made: Mapping[str, tuple[StageSpec, ...]]
) -> Iterator[StageSpec]:
    """Yield all stages that there are then, in any order."""
    base = plan.platform.base
    # A digest of a registry names all architectures of an image.
    image = machine_image(plan.platform) + (f"@{base.digest}" if base.digest else "")
    inputs = {"packages": (*cross.packages, *to.packages), "triplet": to.triplet}
    yield StageSpec(name=CROSS_BASE, template=CROSS_BASE, base=image, inputs=inputs, minutes=1)
    moved = _only_for(plan, set(made))
    for stage in plan.stages:
        if stage.name in made:
            yield from made[stage.name]
        elif stage.name in moved:
            # A source is the same for all: apt fetches it on the builder's own processor.
            yield replace(stage, base=CROSS_BASE)
        else:
            yield stage
    python = next((stage for stage in plan.stages if stage.template == "python" and stage.name in made), None)
    if python is not None:
        yield _machine_python(python, cross, to)


def _machine_python(stage: StageSpec, cross: Cross, to: CrossTarget) -> StageSpec:
    """Return the stage of what every cross compile of that Python wants, whatever its variant."""
    packages = tuple(f"{name}:{to.foreign}" for name in cross.python_libraries)
    inputs = {key: stage.inputs[key] for key in _SOURCE}
    return StageSpec(
        name=_CROSS_PYTHON,
        template=_CROSS_PYTHON,
        base=CROSS_BASE,
        inputs={**inputs, "triplet": to.triplet, "foreign": to.foreign, "packages": packages},
        uses=_sources(stage),
        minutes=2,
    )


def _only_for(plan: Plan, crossed: set[str]) -> set[str]:
    """Return the sources from the distribution that only cross-compiled stages want."""
    found = set()
    for stage in plan.stages:
        if stage.template == "source-debian":
            users = {other.name for other in plan.stages if stage.name in (other.base, *other.uses)}
            if users <= crossed:
                found.add(stage.name)
    return found

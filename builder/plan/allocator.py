"""The allocators that the entrypoint can preload: where libtcmalloc comes from, and the stage that has them all. Pure.

libtcmalloc comes in four ways. Which of them a system has is its recipe's word, and the first one is taken unless the
platform or the caller chooses; so a model that wants tcmalloc has an option more than its file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from builder.errors import PlanError
from builder.plan.stage import StageSpec
from builder.recipe.suggest import one_of
from builder.recipe.types import Choice, Component, Model, Option, Platform, System, TcmallocWay

__all__ = [
    "ALLOCATORS",
    "TCMALLOC",
    "allocators_stage",
    "chosen_way",
    "source_of",
    "system_ways",
    "with_option",
]

ALLOCATORS = "allocators"
TCMALLOC = "tcmalloc"
"""The option, the component and the allocator have one name."""
BUILT = "/opt/gperftools/lib/libtcmalloc.so.4"
"""Where the stage that compiles gperftools leaves it."""
WAYS: Mapping[TcmallocWay, Choice] = {
    "git": Choice(
        title="gperftools 2.16 from its git tag, page size 64 KiB",
        note="a commit comes from any git mirror; autotools make the configure script",
    ),
    "release": Choice(
        title="gperftools 2.16 from its release tarball, page size 64 KiB",
        note="the tarball of the READMEs, with its own configure script",
    ),
    "source-package": Choice(
        title="gperftools 2.16 from the distribution's source package, page size 64 KiB",
        note="needs no other host than the distribution's; autotools make the configure script",
    ),
    "package": Choice(
        title="the distribution's package, in its version and page size",
        note="nothing is compiled",
    ),
}


def system_ways(system: System, platform: Platform | None = None) -> tuple[TcmallocWay, ...]:
    """Return the ways in which a system, or a platform on it, can have libtcmalloc, the default first."""
    ways = system.tcmalloc_ways or (("package",) if system.tcmalloc else ("git",))
    first = platform.tcmalloc if platform and platform.tcmalloc in ways else ways[0]
    return (first, *(way for way in ways if way != first))


def with_option(model: Model, choices: Iterable[TcmallocWay]) -> Model:
    """Return the model with the option `tcmalloc`, where it wants that; the first of the ways is the default."""
    if not model.tcmalloc:
        return model
    ways = tuple(dict.fromkeys(choices))
    option = Option(
        name=TCMALLOC,
        title="Where libtcmalloc comes from",
        default=ways[0],
        choices={way: WAYS[way] for way in ways},
    )
    return replace(model, options=(*model.options, option))


def chosen_way(model: Model, system: System, platform: Platform, wanted: Mapping[str, str]) -> TcmallocWay | None:
    """Return how libtcmalloc comes into the image; None for a model that does not want it.

    Raises:
        PlanError: for a way that the system has not.
    """
    if not model.tcmalloc:
        return None
    ways = system_ways(system, platform)
    way = wanted.get(TCMALLOC, ways[0])
    for each in ways:
        if way == each:
            return each
    if way in WAYS:
        message = f"option 'tcmalloc': {system.title} has no {way!r} (tcmalloc_ways of the system's recipe)"
        raise PlanError(message, hint=f"it has {', '.join(ways)}")
    raise PlanError(f"option 'tcmalloc' of {model.name} has no choice {way!r}", hint=one_of(way, ways))


def source_of(component: Component, version: str, way: TcmallocWay) -> str:
    """Return the name of the source that a way compiles.

    Raises:
        PlanError: when the component's recipe names none.
    """
    sources = component.versions[version].ways
    if way not in sources:
        message = f"components/{component.name}.yaml: version {version} names no source for the way {way!r}"
        raise PlanError(message, hint=f"it has {', '.join(sources) or 'none'}")
    return sources[way]


def allocators_stage(system: System, way: TcmallocWay, os_packages: tuple[str, ...], tcmalloc_stage: str) -> StageSpec:
    """Return the stage of the allocators' libraries, each under one name; all models that want one share it."""
    packages = (*(system.tcmalloc if way == "package" else ()), *system.jemalloc)
    libraries: dict[str, Any] = {TCMALLOC: {"": BUILT} if tcmalloc_stage else dict(system.tcmalloc_library)}
    if system.jemalloc:
        libraries["jemalloc"] = dict(system.jemalloc_library)
    inputs = {
        "manager": system.manager,
        "packages": packages,
        "tcmalloc_stage": tcmalloc_stage,
        # Some systems have one path for all architectures.
        "libraries": {name: tuple(dict.fromkeys(paths.values())) for name, paths in libraries.items()},
    }
    uses = (*os_packages, *((tcmalloc_stage,) if tcmalloc_stage else ()))
    return StageSpec(name=ALLOCATORS, template="allocators", base="base", inputs=inputs, uses=uses)

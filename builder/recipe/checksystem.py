"""Rules about allocators and cross compilers: what the recipes say of them fits together. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from builder.recipe.suggest import one_of
from builder.recipe.text import Document, Mistake
from builder.recipe.types import Component, Model, Platform, Source, System

__all__ = ["component_ways", "model_allocator", "platform_tcmalloc", "system_allocators", "system_cross"]


def system_allocators(system: System, doc: Document) -> Iterator[Mistake]:
    """Yield packages without the path of their library, and ways that are named twice or cannot be."""
    for name in ("tcmalloc", "jemalloc"):
        if getattr(system, name) and not getattr(system, f"{name}_library"):
            message = f"{name}_library: the package has a library, and no path says where"
            yield doc.mistake((name,), message)
    for index, way in enumerate(system.tcmalloc_ways):
        path = ("tcmalloc_ways", index)
        if way in system.tcmalloc_ways[:index]:
            yield doc.mistake(path, f"tcmalloc_ways.{index}: {way!r} is there twice")
        if way == "package" and not system.tcmalloc:
            yield doc.mistake(path, f"tcmalloc_ways.{index}: no package is named", hint="name it with `tcmalloc:`")


def system_cross(system: System, doc: Document) -> Iterator[Mistake]:
    """Yield what a system says of its cross compilers that cannot be: apt's alone are used."""
    cross = system.cross
    if cross is None:
        return
    if system.manager != "apt":
        message = f"cross: nothing is installed for another architecture with {system.manager}"
        yield doc.mistake(("cross",), message, hint="leave it out, and say why with `no_cross:`")
    if system.no_cross:
        yield doc.mistake(("no_cross",), "no_cross: there is a `cross`", hint="leave one of them out")
    if not cross.targets:
        yield doc.mistake(("cross", "targets"), "cross.targets: none")
    for index, name in enumerate(cross.python_libraries):
        if name not in system.python_build:
            path = ("cross", "python_libraries", index)
            message = f"cross.python_libraries.{index}: {name!r} is not in python_build"
            yield doc.mistake(path, message, hint=one_of(name, system.python_build))


def platform_tcmalloc(platform: Platform, system: System | None, doc: Document) -> Iterator[Mistake]:
    """Yield a way of tcmalloc that the platform's system has not."""
    if system and platform.tcmalloc and platform.tcmalloc not in system.tcmalloc_ways:
        message = f"tcmalloc: {system.name} has no {platform.tcmalloc!r}"
        yield doc.mistake(
            ("tcmalloc",), message, hint=f"its tcmalloc_ways are {', '.join(system.tcmalloc_ways) or '-'}"
        )


def component_ways(component: Component, sources: dict[str, Source], doc: Document) -> Iterator[Mistake]:
    """Yield ways of tcmalloc that belong to another component, or whose source does not exist."""
    for version, origin in component.versions.items():
        for way, source in origin.ways.items():
            path = ("versions", version, "ways", way)
            spelled = f"versions.{version}.ways.{way}"
            if component.template != "tcmalloc":
                yield doc.mistake(path, f"{spelled}: only tcmalloc comes in ways")
            elif way == "package":
                yield doc.mistake(path, f"{spelled}: a package has no source; a system names it with `tcmalloc:`")
            elif source not in sources:
                yield doc.mistake(path, f"{spelled}: unknown source {source!r}")


def model_allocator(model: Model, doc: Document) -> Iterator[Mistake]:
    """Yield an option whose name is taken: a model that wants tcmalloc has one of that name already."""
    for index, option in enumerate(model.options):
        if model.tcmalloc and option.name == "tcmalloc":
            message = f"options.{index}.name: 'tcmalloc' is an option of every model with `tcmalloc: true`"
            yield doc.mistake(("options", index, "name"), message, hint="give it another name")

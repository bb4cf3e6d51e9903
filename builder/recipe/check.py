"""Rules between recipes: every name that is used exists, and nothing is said twice. Pure.

One function per rule; each yields its mistakes with their places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from builder.recipe.checklog import model_log, model_references
from builder.recipe.checkplatform import PLATFORM_RULES, toolchain_names, unknown
from builder.recipe.checksystem import (
    component_ways,
    model_allocator,
    platform_tcmalloc,
    system_allocators,
    system_cross,
)
from builder.recipe.text import DataPath, Document, Mistake
from builder.recipe.types import (
    Catalog,
    Copy,
    Edit,
    GitSource,
    Model,
    Origin,
    Patch,
    Remove,
    SourcesFile,
)

__all__ = ["Named", "check", "cycle"]


@dataclass(frozen=True, slots=True)
class Named:
    """A value and the document it came from."""

    value: Any
    document: Document


Found = Mapping[str, Mapping[str, Named]]


def check(catalog: Catalog, found: Found, sources: Iterable[tuple[SourcesFile, Document]]) -> Iterator[Mistake]:
    """Yield every mistake between the files of `catalog`."""
    for platform in found["platforms"].values():
        for platform_rule in PLATFORM_RULES:
            yield from platform_rule(catalog, platform.value, platform.document)
        system = catalog.systems.get(platform.value.system)
        yield from platform_tcmalloc(platform.value, system, platform.document)
    for toolchain in found["toolchains"].values():
        yield from toolchain_names(catalog, toolchain.value, toolchain.document)
    for component in found["components"].values():
        yield from _component_names(catalog, component)
        yield from component_ways(component.value, dict(catalog.sources), component.document)
    yield from _component_cycles(found)
    for named in found["systems"].values():
        yield from system_allocators(named.value, named.document)
        yield from system_cross(named.value, named.document)
    for model in found["models"].values():
        yield from model_allocator(model.value, model.document)
        for model_rule in _MODEL_RULES:
            yield from model_rule(catalog, model.value, model.document)
    yield from _sources_said_twice(found, sources)


# --- components ---------------------------------------------------------------------------------


def _component_names(catalog: Catalog, named: Named) -> Iterator[Mistake]:
    component, doc = named.value, named.document
    for index, need in enumerate(component.needs):
        if need != "torch" and need not in catalog.components:
            yield unknown(doc, ("needs", index), "component", need, ["torch", *catalog.components])
    for version, origin in component.versions.items():
        for accelerator in ("npu", "cpu"):
            source = getattr(origin, accelerator)
            if source is not None and source not in catalog.sources:
                yield unknown(doc, ("versions", version, accelerator), "source", source, catalog.sources)
        yield from _published(doc, version, origin)
        for index, step in enumerate(origin.steps):
            path = ("versions", version, "steps", index)
            if isinstance(step, Patch | Copy) and step.source not in catalog.sources:
                yield unknown(doc, (*path, "source"), "source", step.source, catalog.sources)
            if step.when:
                message = f"versions.{version}.steps.{index}.when: options belong to a model, a component has none"
                yield doc.mistake((*path, "when"), message, hint="move the step to the model")


def _published(doc: Document, version: str, origin: Origin) -> Iterator[Mistake]:
    if origin.index is not None and (origin.npu or origin.cpu or origin.steps):
        message = f"versions.{version}.index: a published wheel has no source and no steps beside it"
        yield doc.mistake(("versions", version, "index"), message)
    if origin.index is not None and "==" not in origin.index:
        message = f"versions.{version}.index: {origin.index!r} is no exact version"
        yield doc.mistake(("versions", version, "index"), message, hint="write package==version")


def _component_cycles(found: Found) -> Iterator[Mistake]:
    needs = {name: named.value.needs for name, named in found["components"].items()}
    path = cycle(needs)
    if path:
        doc = found["components"][path[0]].document
        yield doc.mistake(("needs",), f"needs: components need each other in a circle: {' -> '.join(path)}")


def cycle(needs: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return one circle of `needs` as a path that ends where it began, or ()."""
    done: set[str] = set()
    for start in sorted(needs):
        # The way from `start`, each with the needs not yet followed: no recursion, a chain may be long.
        trail = {start: iter(needs[start])}
        while trail and start not in done:
            name = next(reversed(trail))
            need = next((item for item in trail[name] if item in needs and item not in done), None)
            if need is None:
                done.add(name)
                del trail[name]
            elif need in trail:
                way = list(trail)
                return (*way[way.index(need) :], need)
            else:
                trail[need] = iter(needs[need])
    return ()


# --- models --------------------------------------------------------------------------------------


def _model_names(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    if model.platform not in catalog.platforms:
        yield unknown(doc, ("platform",), "platform", model.platform, catalog.platforms)
    named: list[tuple[DataPath, str]] = [
        (("readme", "source"), model.readme.source),
        (("tree", "source"), model.tree.source),
    ]
    named += [(path, step.source) for path, step in _steps(model) if isinstance(step, Patch | Copy)]
    named += [(("components", i, "source"), use.source) for i, use in enumerate(model.components)]
    for path, source in named:
        if source and source not in catalog.sources:
            yield unknown(doc, path, "source", source, catalog.sources)


def _model_trees(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    """What is copied from as a tree must be one: an archive's stage holds one file."""
    wanted: list[tuple[DataPath, str]] = [(("tree", "source"), model.tree.source)]
    for path, step in _steps(model):
        if isinstance(step, Patch | Copy) and step.source:
            wanted.append(((*path, "source"), step.source))
        elif isinstance(step, Copy) and path[0] == "components":
            spelled = ".".join(map(str, path))
            hint = "before a component is built, the model's own tree is not there; use an overlay"
            yield doc.mistake(path, f"{spelled}: the key 'source' is missing", hint=hint)
    for path, source in wanted:
        if not isinstance(catalog.sources.get(source), GitSource | None):
            spelled = ".".join(map(str, path))
            yield doc.mistake(path, f"{spelled}: {source!r} is no git source; files are taken from git trees only")


def _model_components(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    for index, use in enumerate(model.components):
        component = catalog.components.get(use.name)
        if component is None:
            yield unknown(doc, ("components", index, "name"), "component", use.name, catalog.components)
        elif use.version not in component.versions:
            path = ("components", index, "version")
            yield unknown(doc, path, f"version of {use.name}", use.version, component.versions)
    used = {use.name for use in model.components}
    for index, overlay in enumerate(model.overlays):
        if overlay.component not in used:
            path = ("overlays", index, "component")
            yield unknown(doc, path, "component of this model", overlay.component, used)


def _model_options(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    options = {option.name: option for option in model.options}
    for index, option in enumerate(model.options):
        if option.default not in option.choices:
            yield unknown(doc, ("options", index, "default"), "choice", option.default, option.choices)
    for path, when in _conditions(model):
        for name, choice in when.items():
            if name not in options:
                yield unknown(doc, (*path, name), "option", name, options)
            elif choice not in options[name].choices:
                yield unknown(doc, (*path, name), "choice", choice, options[name].choices)


def _model_said_twice(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    """Two items of one name are fine only where `on` or `when` keeps them apart."""
    groups: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("jobs", model.jobs),
        ("components", model.components),
    )
    for key, items in groups:
        for (_, one), (index, two) in combinations(enumerate(items), 2):
            if one.name == two.name and not _apart(one, two):
                message = f"{key}.{index}.name: {two.name!r} is there twice"
                yield doc.mistake((key, index, "name"), message, hint="keep them apart with `on` or `when`")
    names = [option.name for option in model.options]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield doc.mistake(("options", index, "name"), f"options.{index}.name: {name!r} is there twice")


def _apart(one: Any, two: Any) -> bool:
    if one.on and two.on and one.on != two.on:
        return True
    return any(two.when.get(name, choice) != choice for name, choice in one.when.items())


def _model_patterns(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    for index, job in enumerate(model.jobs):
        try:
            re.compile(job.success)
        except re.error as error:
            message = f"jobs.{index}.success: not a regular expression: {error}"
            yield doc.mistake(("jobs", index, "success"), message)


def _model_launches(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    for index, job in enumerate(model.jobs):
        if job.launch is None:
            continue
        path, spelled = ("jobs", index, "launch"), f"jobs.{index}.launch"
        if job.single_node:
            yield doc.mistake(path, f"{spelled}: beside single_node, which says that it cannot run on several nodes")
        if not job.launch.processes and not job.npus:
            yield doc.mistake(path, f"{spelled}: how many processes a node starts is missing, the job has no NPUs")
        try:
            re.compile(job.launch.success)
        except re.error as error:
            yield doc.mistake((*path, "success"), f"{spelled}.success: not a regular expression: {error}")


def _model_edits(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    for path, step in _steps(model):
        if isinstance(step, Edit) and step.find == step.replace:
            spelled = ".".join(map(str, path))
            yield doc.mistake(path, f"{spelled}: the edit replaces a text by itself")
    for number, overlay in enumerate(model.overlays):
        for index, step in enumerate(overlay.steps):
            if isinstance(step, Remove):
                overlay_path = ("overlays", number, "steps", index)
                message = f"overlays[{number}].steps[{index}]: an overlay adds and changes files, it cannot remove one"
                yield doc.mistake(overlay_path, message)


def _model_pins(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    for platform in model.requirements.conflicts:
        if platform not in catalog.platforms:
            path = ("requirements", "conflicts", platform)
            yield unknown(doc, path, "platform", platform, catalog.platforms)


_MODEL_RULES: tuple[Callable[[Catalog, Model, Document], Iterator[Mistake]], ...] = (
    _model_names,
    _model_trees,
    _model_components,
    _model_options,
    _model_said_twice,
    _model_patterns,
    _model_launches,
    _model_edits,
    _model_pins,
    model_log,
    model_references,
)


def _steps(model: Model) -> Iterator[tuple[DataPath, Any]]:
    for index, step in enumerate(model.tree.steps):
        yield ("tree", "steps", index), step
    for number, use in enumerate(model.components):
        for index, step in enumerate(use.steps):
            yield ("components", number, "steps", index), step
    for number, overlay in enumerate(model.overlays):
        for index, step in enumerate(overlay.steps):
            yield ("overlays", number, "steps", index), step


def _conditions(model: Model) -> Iterator[tuple[DataPath, Mapping[str, str]]]:
    for path, step in _steps(model):
        yield (*path, "when"), step.when
    groups: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("components", model.components),
        ("overlays", model.overlays),
        ("jobs", model.jobs),
    )
    for key, items in groups:
        for index, item in enumerate(items):
            yield (key, index, "when"), item.when


def _sources_said_twice(found: Found, sources: Iterable[tuple[SourcesFile, Document]]) -> Iterator[Mistake]:
    """One name, one source: two files that differ about it are a mistake."""
    first: dict[str, tuple[Any, str]] = {}
    holders = [(value, doc) for value, doc in sources]
    models = [(named.value, named.document) for named in found["models"].values()]
    for holder, doc in [*holders, *models]:
        for name, source in holder.sources.items():
            known = first.setdefault(name, (source, doc.file))
            if known[0] != source:
                message = f"sources.{name}: differs from the source of that name in {known[1]}"
                yield doc.mistake(("sources", name), message, hint="give it another name", at_key=True)

"""What `patch check` checks: every source tree that recipes change, once, with its steps. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from builder.plan.scope import Scope, scope_of
from builder.plan.steps import describe
from builder.recipe.types import Catalog, Copy, Edit, Patch, Remove, Source, Step

__all__ = [
    "Checks",
    "Layer",
    "Target",
    "concerns",
    "joined",
    "plan_checks",
    "sources_of",
    "step_text",
    "store_key",
    "touched",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What lies in a folder of a target before its steps: a source's files, or those of another target."""

    directory: str
    source: str = ""
    target: Target | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Target:
    """A tree of files and what is done to it, in order."""

    where: str
    """What it is, for people: `tree`, `component mmdet`, `overlay mmcv`."""
    origin: str
    """The source whose files are changed."""
    upstream: str
    patch_in: str
    """The folder that patches are applied in."""
    steps: tuple[Step, ...]
    layers: tuple[Layer, ...]
    own: Target | None = None
    """Where a copy without source takes its files from; the target itself when there is none."""
    users: list[str] = field(default_factory=list)
    """`model on platform`, for each that has this very target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """All that is to be checked."""

    targets: tuple[Target, ...]
    """Each after those that it is made of."""
    sources: Mapping[str, Source]


def plan_checks(
    catalog: Catalog,
    models: Iterable[str],
    *,
    platforms: Iterable[str] = (),
    options: Mapping[str, str] | None = None,
    pinned: Mapping[str, str] | None = None,
) -> Checks:
    """Return what is changed for these models; what several share, once.

    Without `platforms`, on the model's own and on every CPU platform.

    Raises:
        PlanError: for a model, platform, option or pinned source that does not exist.
    """
    registry = _Registry()
    sources = catalog.sources
    for model in models:
        own = scope_of(catalog, model, options=options, pinned=pinned)
        sources = own.catalog.sources
        cpu = [name for name, item in catalog.platforms.items() if item.accelerator == "cpu"]
        for platform in tuple(platforms) or dict.fromkeys((own.platform.name, *cpu)):
            scope = scope_of(catalog, model, platform=platform, options=options, pinned=pinned)
            registry.add(scope, f"{model} on {platform}")
    made_of = [layer.target for target in registry.targets.values() for layer in target.layers if target.steps]
    needed = {id(item) for item in (*made_of, *(target.own for target in registry.targets.values()))}
    targets = (target for target in registry.targets.values() if target.steps or id(target) in needed)
    return Checks(targets=tuple(targets), sources=sources)


class _Registry:
    """The targets so far, by all that makes them what they are."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}

    def add(self, scope: Scope, user: str) -> None:
        """Add a plan's targets: components, then the model's tree, then what is laid over built components."""
        components: dict[str, Target] = {}
        for use in scope.uses:
            steps = scope.component_steps(use) if scope.template(use) == "wheel" else ()
            if steps or use.keep_tree:
                components[use.name] = self._one(scope, user, f"component {use.name}", scope.origin(use), steps)
        tree = self._tree(scope, user, components)
        origins = {use.name: scope.origin(use) for use in scope.uses}
        for name, steps in scope.overlay_steps().items():
            # An installed package's Python files are those of its source, after the component's own steps.
            base = Layer(directory="", target=components[name]) if name in components else None
            self._one(scope, user, f"overlay {name}", origins[name], steps, base=base, own=tree)

    def _tree(self, scope: Scope, user: str, components: Mapping[str, Target]) -> Target:
        kept = [
            Layer(directory=_plain(use.keep_tree), target=components[use.name]) for use in scope.uses if use.keep_tree
        ]
        directory = _plain(scope.model.tree.directory)
        origin = scope.model.tree.source
        base = Layer(directory=directory, source=origin)
        steps = scope.tree_steps()
        return self._one(scope, user, "tree", origin, steps, base=base, patch_in=directory, kept=tuple(kept))

    def _one(
        self,
        scope: Scope,
        user: str,
        where: str,
        origin: str,
        steps: tuple[Step, ...],
        *,
        base: Layer | None = None,
        patch_in: str = "",
        kept: tuple[Layer, ...] = (),
        own: Target | None = None,
    ) -> Target:
        source = scope.catalog.sources[origin]
        layers = (base or Layer(directory="", source=origin), *kept)
        key = repr((where, store_key(source), patch_in, steps, [(item.directory, id(item.target)) for item in layers]))
        needs_own = any(isinstance(step, Copy) and not step.source for step in steps)
        if needs_own and own:
            key += f" {id(own)}"
        target = self.targets.get(key)
        if target is None:
            upstream = describe(origin, source)
            target = Target(
                where=where,
                origin=origin,
                upstream=upstream,
                patch_in=patch_in,
                steps=steps,
                layers=layers,
                own=own if needs_own else None,
            )
            self.targets[key] = target
        target.users.append(user)
        return target


def store_key(source: Source) -> str:
    """Return the key under which a store has a source."""
    commit = getattr(source, "commit", "")
    if commit:
        return f"git:{commit}"
    sha256 = getattr(source, "sha256", None)
    return f"sha256:{sha256}" if sha256 else f"url:{getattr(source, 'url', '')}"


def sources_of(targets: Iterable[Target]) -> tuple[str, ...]:
    """Return the names of all sources that checking the targets reads."""
    names: set[str] = set()
    for target in targets:
        names.update(layer.source for layer in target.layers)
        names.update(step.source for step in target.steps if isinstance(step, Patch | Copy))
    return tuple(sorted(names - {""}))


def touched(target: Target, step: Step, patched: Mapping[tuple[str, str], tuple[str, ...]]) -> tuple[str, ...]:
    """Return the paths in a target that a step changes; `patched` has the paths of each patch, by source and path."""
    match step:
        case Patch():
            return tuple(joined(target.patch_in, path) for path in patched.get((step.source, step.path), ()))
        case Copy():
            return (_plain(step.to),)
        case Edit():
            return (_plain(step.file),)
        case Remove():
            return (_plain(step.path),)


def concerns(
    targets: Iterable[Target], patched: Mapping[tuple[str, str], tuple[str, ...]], source: str
) -> dict[str, tuple[str, ...]]:
    """Return the paths of a source that steps change or are made of, each with these steps, for people.

    A folder stands for all that is in it.
    """
    found: dict[str, dict[str, None]] = {}
    for target in targets:
        for step in target.steps:
            paths = [inner for path in touched(target, step, patched) for inner in _in_source(target, path, source)]
            if isinstance(step, Patch | Copy) and step.source == source:
                paths.append(_plain(step.path))
            for path in paths:
                found.setdefault(path, {})[f"{target.where} of {', '.join(target.users)}: {step_text(step)}"] = None
    return {path: tuple(steps) for path, steps in sorted(found.items())}


def _in_source(target: Target, path: str, source: str) -> Iterator[str]:
    """Yield what a target's path is called in a source, through the layers that the target is made of."""
    for layer in target.layers:
        inner = path if not layer.directory else path.removeprefix(f"{layer.directory}/")
        if layer.directory and inner == path:
            continue
        if layer.target:
            yield from _in_source(layer.target, inner, source)
        elif layer.source == source:
            yield inner


def step_text(step: Step) -> str:
    """Return a step in a line, for people."""
    match step:
        case Patch():
            return f"patch {step.path} of {step.source}"
        case Copy():
            return f"copy {step.path} of {step.source or 'the patched tree'} to {step.to}"
        case Edit():
            return f"edit {step.file}"
        case Remove():
            return f"remove {step.path}"


def joined(folder: str, path: str) -> str:
    """Return a path below a folder, '' for the target's root; what climbs out keeps its '..'."""
    return _plain(posixpath.join(folder, path))


def _plain(path: str) -> str:
    plain = posixpath.normpath(path) if path else ""
    return "" if plain == "." else plain

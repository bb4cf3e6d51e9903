"""What a recipe has of what a README says: versions, commits, locked packages, variables, patches, results. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion

from builder.plan.locks import FRAMEWORK, lock_path, parse_lock
from builder.plan.sources import model_sources
from builder.readme.facts import Fact, canonical, repository
from builder.recipe.types import Catalog, GitSource, Model, Patch, Platform, Result, Step

__all__ = ["Has", "recipe_has"]

_ANYBODYS = frozenset(
    ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "MAX_JOBS")
)
"""Variables that an image sets in its own way."""
SHORTEST = 7
"""Digits of a commit."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_REPOSITORIES = {"mmdet": "mmdetection", "mmdet3d": "mmdetection3d"}
"""Of components that come as source distributions from the package index, and from a repository in a README."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Has:
    """What a recipe says, by what a README calls it."""

    versions: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, tuple[GitSource, ...]]
    """Of the model's image, by repository."""
    versions_of: Mapping[str, tuple[str, ...]]
    """By repository: the versions of what is built from it."""
    locked: Mapping[str, str]
    variables: Mapping[str, frozenset[str]]
    patches: frozenset[str]
    results: tuple[frozenset[str], ...]
    """The figures of each published row."""

    def agrees(self, fact: Fact) -> bool | None:
        """Return whether the recipe has just this; None where a recipe does not say such a thing."""
        match fact.kind:
            case "version":
                return self._version(fact)
            case "repository":
                return self._repository(fact)
            case "checkout":
                return self._checkout(fact)
            case "package":
                return self._package(fact)
            case "variable":
                if fact.key in _ANYBODYS:
                    return None
                return fact.value in self.variables.get(fact.key, ())
            case "patch":
                return fact.key in self.patches
            case "result":
                figures = {_plain(text) for text in _NUMBER.findall(fact.value)}
                return any(figures <= row for row in self.results)
            case "requirements" | "download" | "command":
                return None

    def value(self, fact: Fact) -> str:
        """Return what the recipe has in a fact's place, for a reader; '' where it has nothing."""
        match fact.kind:
            case "version":
                return ", ".join(self.versions.get(fact.key, ()))
            case "checkout":
                return ", ".join(
                    f"{one.commit[:7]} ({one.ref})" if one.ref else one.commit[:7] for one in self._of(fact)
                )
            case "repository":
                return ", ".join(_owned(one.url) for one in self._of(fact))
            case "package":
                return self.locked.get(fact.key, "")
            case "variable":
                return ", ".join(sorted(self.variables.get(fact.key, ())))
            case "requirements" | "download" | "command" | "patch" | "result":
                return ""

    def _of(self, fact: Fact) -> tuple[GitSource, ...]:
        return self.sources.get(fact.key, ())

    def _repository(self, fact: Fact) -> bool:
        # Whichever host has it: upstream moves from one to another.
        if any(_owned(one.url) == _owned(fact.value) for one in self._of(fact)):
            return True
        return not self._of(fact) and fact.key in self.versions_of

    def _version(self, fact: Fact) -> bool | None:
        known = self.versions.get(fact.key)
        if known is None:
            return None
        said = _version(fact.value)
        # `2.1` in a table stands for 2.1.0; `torch 2.1.0+cpu` in a recipe for 2.1.0.
        return any(said == own or own.startswith((f"{said}.", f"{said}+")) for own in map(_version, known))

    def _checkout(self, fact: Fact) -> bool | None:
        if fact.key not in self.sources and fact.key not in self.versions_of:
            return None
        said = fact.value
        for one in self._of(fact):
            # `branch 1.x`, `tag v1`, `master of 2025-10-23`
            if (len(said) >= SHORTEST and one.commit.startswith(said)) or said in one.ref.split():
                return True
        return said.removeprefix("v") in self.versions_of.get(fact.key, ())

    def _package(self, fact: Fact) -> bool | None:
        own = self.locked.get(fact.key)
        if own is None:
            return None if not fact.value else False
        try:
            return SpecifierSet(fact.value).contains(own, prereleases=True)
        except (InvalidSpecifier, InvalidVersion):
            return None


def recipe_has(catalog: Catalog, model: Model) -> Has:
    """Return what a model's recipe says, on its own platform."""
    platform = catalog.platforms[model.platform]
    locked = _locked(catalog, platform, model)
    return Has(
        versions=_versions(catalog, platform, model, locked),
        sources=_sources(catalog, model),
        versions_of=_versions_of(catalog, model),
        locked=locked,
        variables=_variables(catalog, platform, model),
        patches=frozenset(step.path.rsplit("/", 1)[-1] for step in _steps(model) if isinstance(step, Patch)),
        results=tuple(frozenset(_figures(row)) for row in model.results),
    )


def _versions(
    catalog: Catalog, platform: Platform, model: Model, locked: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {"python": (platform.python.version,)}
    if "torch" in locked:
        found["pytorch"] = found["torch"] = (locked["torch"],)
    if platform.cann:
        found["cann"] = (platform.cann.version,)
        for name in ("frameworkptadapter", "torch-npu"):
            found[name] = (platform.cann.adapter, *((locked["torch-npu"],) if "torch-npu" in locked else ()))
    for use in model.components:
        own = (*found.get(canonical(use.name), ()), use.version)
        for name in {canonical(use.name), canonical(catalog.components[use.name].package)}:
            found[name] = own
    found["driving-sdk"] = tuple(filter(None, (platform.driving_sdk, *found.get("driving-sdk", ()))))
    return {name: versions for name, versions in found.items() if versions}


def _sources(catalog: Catalog, model: Model) -> dict[str, tuple[GitSource, ...]]:
    found: dict[str, tuple[GitSource, ...]] = {}
    for name in dict.fromkeys((*model_sources(catalog, model.name), model.readme.source)):
        source = catalog.sources[name]
        if isinstance(source, GitSource):
            key = repository(source.url)
            found[key] = (*found.get(key, ()), source)
    return found


def _versions_of(catalog: Catalog, model: Model) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for use in model.components:
        called = _REPOSITORIES.get(use.name, use.name)
        found[called] = (*found.get(called, ()), use.version)
        origin = catalog.components[use.name].versions[use.version]
        for name in filter(None, (origin.npu, origin.cpu, use.source)):
            source = catalog.sources.get(name)
            if isinstance(source, GitSource):
                key = repository(source.url)
                found[key] = (*found.get(key, ()), use.version)
    return found


def _locked(catalog: Catalog, platform: Platform, model: Model) -> dict[str, str]:
    folder = platform.locks or platform.name
    found: dict[str, str] = {}
    for architecture in platform.architectures:
        for lock in (FRAMEWORK, "adapter", model.name):
            path = lock_path(folder, lock, architecture)
            if path in catalog.locks:
                found |= {
                    canonical(name): version for name, (version, _) in parse_lock(catalog.locks[path], path).items()
                }
    return found


def _variables(catalog: Catalog, platform: Platform, model: Model) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    maps = [platform.environment, model.environment, *(job.environment for job in model.jobs)]
    for use in model.components:
        maps += [catalog.components[use.name].environment, catalog.components[use.name].environment_npu]
    for values in maps:
        for name, value in values.items():
            found.setdefault(name, set()).add(value)
    return {name: frozenset(values) for name, values in found.items()}


def _steps(model: Model) -> Iterable[Step]:
    yield from model.tree.steps
    for use in model.components:
        yield from use.steps
    for overlay in model.overlays:
        yield from overlay.steps


def _figures(row: Result) -> Iterable[str]:
    numbers = [row.cards, row.global_batch, row.epochs, row.step_seconds, row.fps, *row.metrics.values()]
    for number in numbers:
        if number is not None:
            yield _plain(str(number))


def _owned(url: str) -> str:
    """Return `owner/name` of a repository."""
    return "/".join(url.rstrip("/").removesuffix(".git").lower().split("/")[-2:])


def _plain(text: str) -> str:
    return f"{float(text):g}"


def _version(text: str) -> str:
    return text.strip().lower().removeprefix("v").removeprefix("=").replace(" ", "")

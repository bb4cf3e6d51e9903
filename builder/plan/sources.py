"""Which sources a plan needs, and a stage for each. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from msgspec import to_builtins

from builder.plan.compiled_by import toolchain_sources
from builder.plan.scope import Scope, scope_of
from builder.plan.stage import StageSpec
from builder.recipe.types import (
    ArchiveSource,
    Catalog,
    Copy,
    DebianSource,
    GitSource,
    IndexSource,
    Patch,
    Source,
    Step,
)

__all__ = [
    "DOWNLOADER",
    "INDEX_FILE",
    "archive_name",
    "model_sources",
    "overrides",
    "pin_of",
    "source_stages",
    "used_sources",
]


INDEX_FILE = "index-file"
"""The stage of the script that fetches one file from the package index."""
DOWNLOADER = ("ca-certificates", "curl")
"""What downloads a file whose server asks for more than ADD can say."""


def model_sources(catalog: Catalog, model: str) -> tuple[str, ...]:
    """Return the names of the sources of a model's image on its own platform, in order. Needs no lock.

    Raises:
        PlanError: for a model that does not exist.
    """
    return used_sources(scope_of(catalog, model))


@lru_cache(maxsize=4)
def used_sources(scope: Scope) -> tuple[str, ...]:
    """Return the names of all sources that go into the image, in order."""
    names = {scope.platform.python.source, scope.model.tree.source}
    if scope.platform.wheels:
        for architecture in scope.platform.architectures:
            names.update(scope.platform.wheels.get(architecture, ()))
    if scope.platform.cann:
        for installers in scope.platform.cann.installers.values():
            names.update(installers)
    names.update(name for sources in toolchain_sources(scope).values() for name in sources)
    names.update(scope.origin(use) for use in (*scope.uses, *scope.frameworks))
    names.update(step.source for step in _all_steps(scope) if isinstance(step, Patch | Copy) and step.source)
    return tuple(sorted(names))


def overrides(scope: Scope) -> dict[str, str]:
    """Return the commits that the caller chose, by source, of those that go into the image."""
    used = used_sources(scope)
    return {name: commit for name, commit in sorted(scope.pinned.items()) if name in used}


def _all_steps(scope: Scope) -> Iterator[Step]:
    yield from scope.tree_steps()
    for use in scope.uses:
        if scope.template(use) == "wheel":
            yield from scope.component_steps(use)
    for steps in scope.overlay_steps().values():
        yield from steps


def source_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield a stage for every source that the plan needs."""
    # What downloads the installers of CANN cannot stand on what they make.
    download_base = "system" if scope.cann_way == "run" else "base"
    for name in used_sources(scope):
        source = scope.catalog.sources[name]
        yield _source_stage(scope, name, source, download_base)


def _source_stage(scope: Scope, name: str, source: Source, download_base: str) -> StageSpec:
    stage = f"src-{name}"
    inputs: dict[str, Any]
    match source:
        case GitSource():
            inputs = {"url": source.url, "commit": source.commit, "ref": source.ref}
            return StageSpec(name=stage, template="source-git", base="scratch", inputs=inputs)
        case ArchiveSource():
            inputs = {"url": source.url, "sha256": source.sha256 or "", "file": archive_name(source)}
            if source.referer or source.eula:
                # ADD cannot say where a link was found, and a licence is accepted by a build argument.
                inputs |= {
                    "referer": source.referer or "",
                    "eula": to_builtins(source.eula),
                    "argument": f"ACCEPT_{source.eula.name.upper()}_EULA" if source.eula else "",
                    "manager": scope.system.manager,
                    "packages": DOWNLOADER,
                }
                return StageSpec(
                    name=stage, template="source-download", base=download_base, inputs=inputs, uses=scope.os_packages
                )
            return StageSpec(name=stage, template="source-archive", base="scratch", inputs=inputs)
        case DebianSource():
            bootstrap = scope.platform.base.bootstrap
            inputs = {
                "package": source.package,
                "suite": source.suite,
                "file": source.file,
                "sha256": source.sha256,
                "own_suite": bootstrap.suite if bootstrap else source.suite,
            }
            return StageSpec(name=stage, template="source-debian", base="base", inputs=inputs)
        case IndexSource():
            inputs = {
                "package": source.package,
                "version": source.version,
                "file": source.file,
                "sha256": source.sha256,
            }
            return StageSpec(name=stage, template="source-index", base="build-base", inputs=inputs, uses=(INDEX_FILE,))


def pin_of(source: Source) -> str:
    """Return what a source is pinned by, as one word: `git:<commit>`, `sha256:<hex>`, or 'unpinned'."""
    if isinstance(source, GitSource):
        return f"git:{source.commit}"
    return f"sha256:{source.sha256}" if source.sha256 else "unpinned"


def archive_name(source: Source) -> str:
    """Return the name of the archive a source stage holds, or '' for a source that is a tree."""
    if isinstance(source, ArchiveSource):
        return source.url.rsplit("/", 1)[-1]
    return source.file if isinstance(source, DebianSource | IndexSource) else ""

"""Which sources a plan needs, and a stage for each. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from builder.plan.scope import PYTHON_STOCK, Scope, scope_of
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

__all__ = ["archive_folder", "archive_name", "model_sources", "source_stages", "used_sources"]


def model_sources(catalog: Catalog, model: str) -> tuple[str, ...]:
    """Return the names of the sources of a model's image on its own platform, in order. Needs no lock.

    Raises:
        PlanError: for a model that does not exist.
    """
    return used_sources(scope_of(catalog, model))


def used_sources(scope: Scope) -> tuple[str, ...]:
    """Return the names of all sources that go into the image, in order."""
    names = {scope.platform.python.source, scope.model.tree.source}
    if scope.platform.wheels:
        for architecture in scope.platform.architectures:
            names.update(scope.platform.wheels.get(architecture, ()))
    names.update(scope.origin(use) for use in scope.uses)
    names.update(step.source for step in _all_steps(scope) if isinstance(step, Patch | Copy) and step.source)
    return tuple(sorted(names))


def _all_steps(scope: Scope) -> Iterator[Step]:
    yield from scope.tree_steps()
    for use in scope.uses:
        if scope.template(use) == "wheel":
            yield from scope.component_steps(use)
    for steps in scope.overlay_steps().values():
        yield from steps


def source_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield a stage for every source that the plan needs."""
    for name in used_sources(scope):
        yield _source_stage(name, scope.catalog.sources[name])


def _source_stage(name: str, source: Source) -> StageSpec:
    stage = f"src-{name}"
    match source:
        case GitSource():
            inputs = {"url": source.url, "commit": source.commit, "ref": source.ref}
            return StageSpec(name=stage, template="source-git", base="scratch", inputs=inputs)
        case ArchiveSource():
            inputs = {"url": source.url, "sha256": source.sha256 or ""}
            return StageSpec(name=stage, template="source-archive", base="scratch", inputs=inputs)
        case DebianSource():
            inputs = {
                "package": source.package,
                "suite": source.suite,
                "file": source.file,
                "sha256": source.sha256,
            }
            return StageSpec(name=stage, template="source-debian", base="base", inputs=inputs)
        case IndexSource():
            inputs = {
                "package": source.package,
                "version": source.version,
                "file": source.file,
                "sha256": source.sha256,
                "python": PYTHON_STOCK,
            }
            uses = (PYTHON_STOCK, "torch")
            return StageSpec(name=stage, template="source-index", base="base", inputs=inputs, uses=uses)


def archive_name(source: Source) -> str:
    """Return the name of the archive a source stage holds, or '' for a source that is a tree."""
    if isinstance(source, ArchiveSource):
        return source.url.rsplit("/", 1)[-1]
    return source.file if isinstance(source, DebianSource | IndexSource) else ""


def archive_folder(source: Source) -> str:
    """Return the folder of a source stage in which its archive lies."""
    # ADD puts a downloaded file at the root of its stage.
    return "/" if isinstance(source, ArchiveSource) else "/archive"

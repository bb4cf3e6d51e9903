"""Which models change a source, or take a patch out of it: what has to be looked at when its commit moves. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from builder.recipe.types import Catalog, Copy, Model, Patch, Step

__all__ = ["patched_by"]


def patched_by(catalog: Catalog, source: str) -> tuple[str, ...]:
    """Return the models with steps on a source or with patches and files from it, on whatever platform, by name."""
    return tuple(name for name, model in catalog.models.items() if any(_concerned(catalog, model, source)))


def _concerned(catalog: Catalog, model: Model, source: str) -> Iterator[bool]:
    for origins, steps in _changes(catalog, model):
        yield bool(steps) and source in origins
        yield any(isinstance(step, Patch | Copy) and step.source == source for step in steps)


def _changes(catalog: Catalog, model: Model) -> Iterator[tuple[set[str], tuple[Step, ...]]]:
    """Yield what is changed, by all names it may come from, with the steps."""
    yield {model.tree.source}, model.tree.steps
    origins: dict[str, set[str]] = {}
    for use in model.components:
        origin = catalog.components[use.name].versions[use.version]
        names = {name for name in (use.source, origin.npu, origin.cpu) if name}
        origins.setdefault(use.name, set()).update(names)
        yield names, (*origin.steps, *use.steps)
    for overlay in model.overlays:
        yield origins.get(overlay.component, set()), overlay.steps

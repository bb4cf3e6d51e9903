"""Patch, copy, edit, remove: the steps of a recipe as a template takes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from builder.recipe.types import Catalog, Copy, Edit, GitSource, Patch, Remove, Source, Step

__all__ = ["describe", "step_inputs"]


def step_inputs(
    steps: Iterable[Step], catalog: Catalog, *, patch_in: str, upstream: str, own: str = ""
) -> dict[str, Any]:
    """Return the `steps`, `sources` and `upstream` of a template: each step as words, each path where it is mounted.

    `own` is put before the path of a copy without source, which is one from the model's own tree. `upstream` is the
    source whose files are changed: what a miss is reported against.
    """
    words: list[dict[str, Any]] = []
    sources: dict[str, None] = {}
    for step in steps:
        if isinstance(step, Patch | Copy) and step.source:
            sources[f"src-{step.source}"] = None
        words.append({"do": step.__struct_config__.tag, "note": step.note, **_words(step, patch_in, own)})
    return {
        "steps": tuple(words),
        "sources": tuple(sources),
        "upstream": describe(upstream, catalog.sources[upstream]),
    }


def _words(step: Step, patch_in: str, own: str) -> dict[str, Any]:
    match step:
        case Patch():
            return {"tree": patch_in, "file": f"/sources/src-{step.source}/{step.path}"}
        case Copy():
            file = f"/sources/src-{step.source}/{step.path}" if step.source else f"{own}{step.path}"
            return {"file": file, "to": step.to, "replaces": step.replaces or ""}
        case Edit():
            return {"file": step.file, "find": step.find, "replace": step.replace, "count": step.count}
        case Remove():
            return {"file": step.path}


def describe(name: str, source: Source) -> str:
    """Return a source as a person looks it up: repository and commit, or the file's name."""
    if isinstance(source, GitSource):
        return f"{source.url} at {source.commit}"
    return getattr(source, "file", "") or getattr(source, "url", "") or name

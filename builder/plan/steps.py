"""Patch, copy, edit, remove: the steps of a recipe as a template takes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from builder.recipe.types import Copy, Edit, Patch, Remove, Step

__all__ = ["step_inputs"]


def step_inputs(steps: Iterable[Step], *, patch_in: str, own: str = "") -> dict[str, Any]:
    """Return the `steps` and `sources` inputs of a template: each step as words, each path where it is mounted.

    `own` is put before the path of a copy without source, which is one from the model's own tree.
    """
    words: list[dict[str, Any]] = []
    sources: dict[str, None] = {}
    for step in steps:
        match step:
            case Patch():
                sources[f"src-{step.source}"] = None
                file = f"/sources/src-{step.source}/{step.path}"
                words.append({"do": "patch", "tree": patch_in, "file": file, "note": step.note})
            case Copy():
                if step.source:
                    sources[f"src-{step.source}"] = None
                file = f"/sources/src-{step.source}/{step.path}" if step.source else f"{own}{step.path}"
                words.append(
                    {
                        "do": "copy",
                        "file": file,
                        "to": step.to,
                        "replaces": step.replaces or "",
                        "note": step.note,
                    }
                )
            case Edit():
                words.append(
                    {
                        "do": "edit",
                        "file": step.file,
                        "find": step.find,
                        "replace": step.replace,
                        "count": step.count,
                        "note": step.note,
                    }
                )
            case Remove():
                words.append({"do": "remove", "file": step.path, "note": step.note})
    return {"steps": tuple(words), "sources": tuple(sources)}

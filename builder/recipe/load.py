"""Texts of recipe files to one Catalog. Pure: who reads the files is builder/source/catalog.py.

All mistakes of all files are reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from builder.errors import RecipeError
from builder.recipe.check import Named, check
from builder.recipe.diagnose import convert
from builder.recipe.text import Document, Mistake, parse
from builder.recipe.types import Catalog, Component, Model, Platform, SourcesFile, System, Toolchain

__all__ = ["KINDS", "RecipeText", "load"]

KINDS: Mapping[str, type[Any]] = {
    "models": Model,
    "platforms": Platform,
    "systems": System,
    "toolchains": Toolchain,
    "components": Component,
}


@dataclass(frozen=True, slots=True)
class RecipeText:
    """One recipe file: `path` relative to its recipe folder, `shown` as a user would open it."""

    path: str
    shown: str
    content: bytes


def load(files: Iterable[RecipeText], locks: Mapping[str, str]) -> Catalog:
    """Return the catalog of `files`.

    A later file replaces an earlier one of the same kind and name: that is how a user's folder overrides a
    shipped recipe.

    Raises:
        RecipeError: with every mistake of every file, each with place, line, caret and hint.
    """
    mistakes: list[Mistake] = []
    found: dict[str, dict[str, Named]] = {kind: {} for kind in KINDS}
    sources: list[tuple[SourcesFile, Document]] = []
    for file in files:
        kind = _kind(file.path)
        document = parse(file.content, file.shown)
        if kind is None:
            hint = f"recipes are <{'|'.join(KINDS)}>/<name>.yaml, and sources.yaml"
            mistakes.append(document.mistake((), f"a file of no known kind: {file.path}", hint=hint))
            continue
        value, wrong = convert(document, kind)
        mistakes += wrong
        if value is None:
            continue
        if isinstance(value, SourcesFile):
            sources.append((value, document))
            continue
        stem = PurePosixPath(file.path).stem
        if value.name != stem:
            message = f"name: {value.name!r} differs from the file's name, {stem!r}"
            mistakes.append(document.mistake(("name",), message, hint="rename one of them"))
        found[PurePosixPath(file.path).parts[0]][value.name] = Named(value, document)
    catalog = _catalog(found, sources, locks)
    if not mistakes:
        # References are checked only between files that are sound in themselves: no follow-up mistakes.
        mistakes += check(catalog, found, sources)
    if mistakes:
        raise RecipeError(_render(mistakes), hint=_count(mistakes))
    return catalog


def _kind(path: str) -> Any:
    parts = PurePosixPath(path).parts
    if path == "sources.yaml":
        return SourcesFile
    if len(parts) == 2 and path.endswith(".yaml"):
        return KINDS.get(parts[0])
    return None


def _catalog(
    found: Mapping[str, Mapping[str, Named]],
    sources: Iterable[tuple[SourcesFile, Document]],
    locks: Mapping[str, str],
) -> Catalog:
    named: dict[str, Any] = {}
    for value, _ in sources:
        named.update(value.sources)
    for item in found["models"].values():
        named.update(item.value.sources)
    kinds = {kind: {name: item.value for name, item in sorted(items.items())} for kind, items in found.items()}
    return Catalog(**kinds, sources=dict(sorted(named.items())), locks=dict(locks))


def _render(mistakes: Iterable[Mistake]) -> str:
    ordered = sorted(dict.fromkeys(mistakes), key=lambda item: (item.file, item.place.line, item.place.column))
    return "\n".join(mistake.render() for mistake in ordered)


def _count(mistakes: list[Mistake]) -> str:
    files = {mistake.file for mistake in mistakes}
    number = len(set(mistakes))
    return f"{number} mistake{'s' * (number > 1)} in {len(files)} file{'s' * (len(files) > 1)}; nothing was written"

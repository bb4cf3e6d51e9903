"""JSON Schemas of the recipe files, for editors. Pure: generated from the types, so they cannot disagree with them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from builder.recipe.load import KINDS
from builder.recipe.types import SourcesFile

__all__ = ["render_schemas"]


def render_schemas() -> dict[str, str]:
    """Return the schema of each kind of recipe file, by its path."""
    kinds: dict[str, Any] = {kind.removesuffix("s"): item for kind, item in KINDS.items()}
    kinds["sources"] = SourcesFile
    return {f"schemas/{name}.schema.json": _schema(name, kind) for name, kind in kinds.items()}


def _schema(name: str, kind: Any) -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "RENDERED BY drivebuild from builder/recipe/types.py",
        "title": f"drivebuild {name}",
        **_ordered(msgspec.json.schema(kind)),
    }
    # JSON Schema speaks JavaScript's regular expressions, which spell the end of text `$`.
    text = json.dumps(schema, indent=2).replace("\\\\Z", "$")
    return text + "\n"


def _ordered(value: Any) -> Any:
    """Return the schema with its sets in one order: msgspec gives `required`, `enum` and `anyOf` in any."""
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    ordered = {key: _ordered(item) for key, item in sorted(value.items())}
    for key in ("required", "enum", "anyOf"):
        if isinstance(ordered.get(key), list):
            ordered[key] = sorted(ordered[key], key=json.dumps)
    return ordered

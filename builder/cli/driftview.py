"""What `drift` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from builder.training.words import clean

if TYPE_CHECKING:
    from builder.readme.compare import Moved
    from builder.readme.lint import Finding

__all__ = ["Drifted", "print_drift", "print_drift_data"]

SCHEMA = 1
_SHOWN = 56


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """What was found."""

    model: str
    path: str
    older: str
    """What the README is called that the recipe follows; '' where it could not be had."""
    missing: str
    newer: str
    moved: tuple[Moved, ...]
    findings: tuple[Finding, ...]
    fresh: frozenset[Finding]
    """Those of them that the older README does not have."""

    @property
    def behind(self) -> bool:
        """Whether something moved that the recipe does not have, or of which it cannot say that it has."""
        return any(item.has is not True for item in self.moved)

    @property
    def count(self) -> str:
        """How much that is, for a message."""
        lacking = sum(item.has is False for item in self.moved)
        open_ = sum(item.has is None for item in self.moved)
        parts = [f"{lacking} thing{'s' * (lacking != 1)} that it has otherwise"] if lacking else []
        parts += [f"{open_} to be looked at"] if open_ else []
        return ", ".join(parts)


def print_drift(result: Drifted) -> None:
    """Print the result for a person."""
    from builder.cli.inspect import print_table

    typer.echo(f"{typer.style(result.model, bold=True)}: {result.path}")
    typer.echo(f"  followed: {clean(result.older) or 'not to be had'}")
    typer.echo(f"  now:      {clean(result.newer)}")
    if not result.older:
        typer.echo(f"note: {clean(result.missing)}; so the README is compared with the recipe alone")
    typer.echo("")
    if result.moved:
        rows = [_row(item) for item in result.moved]
        print_table(rows, header=("LINE", "WHAT", "WAS", "NOW", "RECIPE"))
    else:
        typer.echo("nothing moved" if result.older else "the recipe has what the README says")
    if result.findings:
        typer.echo("\nits shell:")
        for item in result.findings:
            new = " (new)" if item in result.fresh else ""
            typer.echo(f"  line {item.line}: {item.rule}{new}: {clean(item.text)}")


def print_drift_data(result: Drifted) -> None:
    """Print the result as JSON."""
    from builder.cli.inspect import print_json

    print_json(
        {
            "schema": SCHEMA,
            "model": result.model,
            "path": result.path,
            "followed": result.older or None,
            "now": result.newer,
            "behind": result.behind,
            "moved": [_data(item) for item in result.moved],
            "lint": [
                {"rule": item.rule, "line": item.line, "text": item.text, "new": item in result.fresh}
                for item in result.findings
            ],
        }
    )


def _data(item: Moved) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "key": item.key,
        "was": {"value": item.was, "line": item.was_line} if item.was_line else None,
        "now": {"value": item.now, "line": item.now_line} if item.now_line else None,
        "recipe_has_it": item.has,
        "recipe": item.recipe,
    }


def _row(item: Moved) -> tuple[str, str, str, str, str]:
    line = f"{item.was_line or '-'}→{item.now_line or '-'}"
    what = item.kind if item.kind == "command" else f"{item.kind} {item.key}"
    words = {True: "has it", False: "has it not", None: "look at it"}
    recipe = f"{words[item.has]}: {item.recipe}" if item.recipe and item.has is False else words[item.has]
    return line, _cut(what), _value(item.was, item.was_line), _value(item.now, item.now_line), clean(recipe, 100)


def _value(text: str, line: int) -> str:
    if not line:
        return "-"
    return _cut(text) or "named"


def _cut(text: str) -> str:
    return clean(text, _SHOWN)

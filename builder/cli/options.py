"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from typing import Annotated

import typer

from builder.errors import UsageError

__all__ = ["Architecture", "AsJson", "Lto", "Options", "Platform", "Variant", "parse_options", "variant_of"]

Platform = Annotated[
    str, typer.Option("--platform", "-p", metavar="P", help="The platform; the model's own by default.")
]
Lto = Annotated[bool, typer.Option("--lto", help="Short for --variant lto: Python with LTO and PGO.")]
Variant = Annotated[str, typer.Option("--variant", metavar="V", help="How Python is built: stock or lto.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=CHOICE", help="A choice of a recipe's option; see `drivebuild show`."),
]
Architecture = Annotated[
    str, typer.Option("--arch", metavar="A", help="x86_64 or aarch64: plan for that architecture, or say why not.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_options(texts: list[str] | None) -> dict[str, str]:
    """Return NAME=CHOICE texts as a mapping.

    Raises:
        UsageError: for a text without '='.
    """
    found = {}
    for text in texts or ():
        name, equals, choice = text.partition("=")
        if not equals or not name or not choice:
            raise UsageError(f"--option {text!r}: expected NAME=CHOICE")
        found[name] = choice
    return found


def variant_of(variant: str, *, lto: bool) -> str:
    """Return the variant that `--variant` and `--lto` name together.

    Raises:
        UsageError: when they contradict each other.
    """
    if lto and variant not in ("", "lto"):
        raise UsageError(f"--lto and --variant {variant} contradict each other")
    return "lto" if lto else variant or "stock"

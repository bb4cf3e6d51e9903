"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.recipe.types import Architecture as ArchitectureName

__all__ = [
    "Architecture",
    "AsJson",
    "Lto",
    "Options",
    "Pins",
    "Platform",
    "Variant",
    "known_architecture",
    "machine",
    "parse_options",
    "parse_pins",
    "variant_of",
]

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
Pins = Annotated[
    list[str] | None,
    typer.Option(
        "--pin", metavar="NAME=COMMIT", help="Another commit of a git source; the image's labels and manifest say so."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_options(texts: list[str] | None) -> dict[str, str]:
    """Return NAME=CHOICE texts as a mapping.

    Raises:
        UsageError: for a text without '='.
    """
    return dict(_pair("--option", text, "CHOICE") for text in texts or ())


def parse_pins(texts: list[str] | None) -> dict[str, str]:
    """Return NAME=COMMIT texts as a mapping.

    Raises:
        UsageError: for a text without '='.
    """
    return dict(_pair("--pin", text, "COMMIT") for text in texts or ())


def _pair(option: str, text: str, wanted: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"{option} {text!r}: expected NAME={wanted}")
    return name, value


def variant_of(variant: str, *, lto: bool) -> str:
    """Return the variant that `--variant` and `--lto` name together.

    Raises:
        UsageError: when they contradict each other.
    """
    if lto and variant not in ("", "lto"):
        raise UsageError(f"--lto and --variant {variant} contradict each other")
    return "lto" if lto else variant or "stock"


def machine() -> str:
    """Return this machine's architecture, as recipes spell it."""
    import platform

    name = platform.machine()
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(name, name)


def known_architecture(name: str) -> ArchitectureName:
    """Return an architecture that recipes know.

    Raises:
        UsageError: for any other word.
    """
    from builder.recipe.suggest import one_of

    architectures: tuple[ArchitectureName, ...] = ("x86_64", "aarch64")
    for architecture in architectures:
        if name == architecture:
            return architecture
    raise UsageError(f"--arch: there is no architecture {name!r}", hint=one_of(name, architectures))

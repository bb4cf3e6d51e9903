"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from builder.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from builder.recipe.types import Architecture as ArchitectureName

__all__ = [
    "AcceptBisheng",
    "AcceptCann",
    "Architecture",
    "AsJson",
    "Lto",
    "ModelName",
    "Options",
    "Pgo",
    "Pins",
    "Platform",
    "Profile",
    "Toolchain",
    "Variant",
    "accepted",
    "asked_architecture",
    "check_new_file",
    "known_architecture",
    "machine",
    "parse_options",
    "parse_pins",
    "variant_of",
]

Platform = Annotated[
    str, typer.Option("--platform", "-p", metavar="P", help="The platform; the model's own by default.")
]
Lto = Annotated[
    str,
    typer.Option(
        "--lto",
        metavar="[=full]",
        help="Python with LTO and PGO; =full: with LTO, too, what the platform names under `optimised`.",
    ),
]
Pgo = Annotated[
    str,
    typer.Option(
        "--pgo",
        metavar="=instrument|use",
        help="As --lto=full: to be profiled, or with such a profile (no gain over --lto=full on mmcv's operators).",
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        "--profile", metavar="SHA256|PATH", help="The profile of --pgo=use; the newest kept one that fits by default."
    ),
]
Variant = Annotated[
    str, typer.Option("--variant", metavar="V", help="The same by name: stock, lto, lto-full, pgo-instrument or pgo.")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=CHOICE", help="A choice of a recipe's option; see `drivebuild show`."),
]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name; see `drivebuild list`.")]
Architecture = Annotated[
    str, typer.Option("--arch", metavar="A", help="x86_64 or aarch64: plan for that architecture, or say why not.")
]
Pins = Annotated[
    list[str] | None,
    typer.Option(
        "--pin", metavar="NAME=COMMIT", help="Another commit of a git source; the image's labels and manifest say so."
    ),
]
Toolchain = Annotated[
    str,
    typer.Option(
        "--toolchain",
        metavar="NAME",
        help="Another compiler, of recipes/toolchains: Python's with --lto, the frameworks' beyond it.",
    ),
]
_LTO = {"python": "lto", "full": "lto-full"}
_PGO = {"instrument": "pgo-instrument", "use": "pgo"}
AcceptCann = Annotated[
    bool, typer.Option("--accept-cann-eula", help="You have read Huawei's licence for CANN's installers and accept it.")
]
AcceptBisheng = Annotated[
    bool, typer.Option("--accept-bisheng-eula", help="You have read the BiSheng compiler's licence and accept it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def accepted(*, cann: bool, bisheng: bool) -> tuple[str, ...]:
    """Return the names of the licence agreements that the user accepts."""
    return tuple(name for name, yes in (("cann", cann), ("bisheng", bisheng)) if yes)


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


def variant_of(variant: str, *, lto: str = "", pgo: str = "") -> str:
    """Return the variant that `--variant`, `--lto` and `--pgo` name together.

    Raises:
        UsageError: when they contradict each other, or a value is unknown.
    """
    said = {"--variant": variant, "--lto": _LTO.get(lto, ""), "--pgo": _PGO.get(pgo, "")}
    for flag, value, known in (("--lto", lto, _LTO), ("--pgo", pgo, _PGO)):
        if value and not said[flag]:
            from builder.recipe.suggest import one_of

            raise UsageError(f"{flag}={value}: there is no such level", hint=one_of(value, known))
    if said["--pgo"] and said["--lto"]:
        # Profiles are made and used on top of LTO, so `--lto=full --pgo=use` says one thing twice.
        said["--lto"] = said["--pgo"]
    named = {value for value in said.values() if value}
    if len(named) > 1:
        words = [flag if flag != "--variant" else f"--variant {variant}" for flag, value in said.items() if value]
        raise UsageError(f"{' and '.join(words)} contradict each other")
    return named.pop() if named else "stock"


def machine() -> str:
    """Return this machine's architecture, as recipes spell it."""
    import platform

    name = platform.machine()
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(name, name)


def asked_architecture(name: str) -> ArchitectureName | Literal[""]:
    """Return the architecture that an option names; '' where it was left out.

    Raises:
        UsageError: as `known_architecture`.
    """
    return known_architecture(name) if name else ""


def check_new_file(path: Path, option: str) -> None:
    """Look, before hours of building, whether a file can be made there.

    Raises:
        UsageError: it is a folder, or the folder above it is not there.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {path}: no file can be made there", hint="name a file in a folder that exists")


def known_architecture(name: str, option: str = "--arch") -> ArchitectureName:
    """Return an architecture that recipes know; BuildKit's names of them, amd64 and arm64, are understood.

    Raises:
        UsageError: for any other word.
    """
    from builder.plan.stage import TARGETS
    from builder.recipe.suggest import one_of

    architectures: tuple[ArchitectureName, ...] = ("x86_64", "aarch64")
    for architecture in architectures:
        if name in (architecture, TARGETS[architecture]):
            return architecture
    raise UsageError(f"{option}: there is no architecture {name!r}", hint=one_of(name, architectures))

"""Which compiler a plan compiles what with. Pure.

`stock` is compiled with the system's own compiler. The Python of `lto`, and what the variants beyond it compile, have a
toolchain of their own: the platform names it, and the caller may name another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import PlanError
from builder.plan.select import known
from builder.recipe.types import Architecture, Catalog, Platform, Toolchain, Variant

if TYPE_CHECKING:
    from builder.plan.scope import Scope

__all__ = [
    "PYTHON_TOOLCHAIN",
    "TOOLCHAIN",
    "chosen_toolchain",
    "of_frameworks",
    "of_python",
    "python_base",
    "said",
    "stage_toolchains",
    "toolchain_sources",
]

TOOLCHAIN = "toolchain"
PYTHON_TOOLCHAIN = "python-toolchain"
"""The stage of Python's own compiler, where the frameworks have another one."""


def chosen_toolchain(
    catalog: Catalog, platform: Platform, variant: Variant, name: str, architecture: str = ""
) -> tuple[str, tuple[Architecture, ...]]:
    """Return the toolchain that the caller chose, '' where the platform has it anyway, and what the image exists for.

    Raises:
        PlanError: for a toolchain that does not exist, not for this system or architecture, or not for `stock`.
    """
    if not name:
        return "", platform.architectures
    toolchain: Toolchain = known(catalog.toolchains, name, "toolchain")
    if variant == "stock":
        message = f"toolchain {name!r}: the variant stock is compiled with the system's own compiler"
        raise PlanError(message, hint="name a variant, too: --variant lto")
    fitting = [each for each in catalog.toolchains.values() if platform.system in each.systems]
    if toolchain not in fitting:
        message = f"toolchain {name!r} is for {', '.join(toolchain.systems)}; {platform.name} is {platform.system}"
        raise PlanError(message, hint=f"for {platform.system}: {', '.join(each.name for each in fitting)}")
    wanted = (architecture,) if architecture else platform.architectures
    if not set(wanted) & set(toolchain.architectures):
        others = [each.name for each in fitting if set(wanted) <= set(each.architectures)]
        message = f"{name} exists for {', '.join(toolchain.architectures)} only"
        raise PlanError(message, hint=f"for {', '.join(wanted)}: {', '.join(others)}")
    usual = _usual(platform, variant)
    if all(usual.get(each) == name for each in platform.architectures):
        return "", platform.architectures
    return name, tuple(each for each in platform.architectures if each in toolchain.architectures)


def _usual(platform: Platform, variant: Variant) -> dict[Architecture, str]:
    """Return the names that the platform gives: of Python's compiler for `lto`, of the frameworks' beyond it."""
    if variant == "lto":
        return dict.fromkeys(platform.architectures, platform.python.compiler["lto"])
    return dict(platform.optimised.toolchain) if platform.optimised else {}


def of_python(scope: Scope, variant: Variant) -> Toolchain:
    """Return the compiler of one build of Python; `--toolchain` is Python's only where nothing else is compiled."""
    usual = scope.platform.python.compiler["stock" if variant == "stock" else "lto"]
    own = scope.toolchain if scope.variant == "lto" and variant != "stock" else ""
    return scope.catalog.toolchains[own or usual]


def said(scope: Scope) -> str:
    """Return what an optimised image says of its compiler: its name, or one for each architecture; '' for `stock`."""
    if scope.variant == "stock":
        return ""
    names = {each: item.name for each, item in of_frameworks(scope).items()}
    if len(set(names.values())) > 1:
        return " ".join(f"{each}:{name}" for each, name in names.items())
    return next(iter(names.values()), of_python(scope, scope.variant).name)


def of_frameworks(scope: Scope) -> dict[Architecture, Toolchain]:
    """Return by architecture what the variants beyond `lto` compile with; nothing for `stock` and `lto`."""
    if scope.variant in ("stock", "lto"):
        return {}
    usual = _usual(scope.platform, scope.variant)
    return {each: scope.catalog.toolchains[scope.toolchain or usual[each]] for each in scope.architectures}


def stage_toolchains(scope: Scope) -> dict[str, dict[Architecture, Toolchain]]:
    """Return the stages of compilers that a plan has, each with its compiler by architecture."""
    frameworks, python = of_frameworks(scope), _of_lto_python(scope)
    stages = {TOOLCHAIN: frameworks or python, PYTHON_TOOLCHAIN: python if frameworks not in ({}, python) else {}}
    return {name: members for name, members in stages.items() if members}


def python_base(scope: Scope, variant: Variant) -> str:
    """Return the stage in which a Python is compiled; the system's own compiler is in every builder stage."""
    if of_python(scope, variant).family == "gcc":
        return "build-base"
    return PYTHON_TOOLCHAIN if PYTHON_TOOLCHAIN in stage_toolchains(scope) else TOOLCHAIN


def _of_lto_python(scope: Scope) -> dict[Architecture, Toolchain]:
    """Return by architecture what the optimised Python is compiled with, where that needs a stage."""
    toolchain = of_python(scope, scope.variant)
    if scope.variant == "stock" or toolchain.family == "gcc":
        return {}
    return dict.fromkeys(scope.architectures, toolchain)


def toolchain_sources(scope: Scope) -> dict[Architecture, tuple[str, ...]]:
    """Return the sources of the compilers, by the architecture they are for."""
    found: dict[Architecture, tuple[str, ...]] = {}
    for members in stage_toolchains(scope).values():
        for architecture, toolchain in members.items():
            if toolchain.source:
                found[architecture] = (*found.get(architecture, ()), toolchain.source)
    return found

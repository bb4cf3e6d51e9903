"""The stage of a compiler: one set of tools, looked at, where all stages know them. Pure.

Stages that compile with it start from this one, and call its tools by their absolute path: CANN has an LLVM of its own,
first in PATH.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from builder.plan.compiled_by import stage_toolchains
from builder.plan.jsontext import json_text
from builder.plan.scope import Scope
from builder.plan.sources import archive_name
from builder.plan.stage import TARGETS, StageSpec
from builder.recipe.types import Toolchain

__all__ = ["RUNTIME", "toolchain_stages", "tools"]

HOME = "/opt/toolchain"
RUNTIME = f"{HOME}/runtime"
"""Where the stage has the libraries that what it compiled needs at run time; the only ones that go into an image."""
_NAMES: Mapping[str, Mapping[str, str]] = {
    "clang": {
        "cc": "clang",
        "cxx": "clang++",
        "ar": "llvm-ar",
        "ranlib": "llvm-ranlib",
        "nm": "llvm-nm",
        "linker": "ld.lld",
        "profdata": "llvm-profdata",
    },
    "gcc": {"cc": "gcc", "cxx": "g++", "ar": "gcc-ar", "ranlib": "gcc-ranlib", "nm": "gcc-nm"},
}
"""What the tools are called in the stage; LLVM's look at the name they are called by."""


def tools(toolchain: Toolchain) -> dict[str, str]:
    """Return the absolute path of each tool in the stage, by its key in the recipe's `tools`."""
    return {role: f"{HOME}/bin/{name}" for role, name in _NAMES[toolchain.family].items()}


def toolchain_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield the stages of compilers: one for the frameworks, and one for Python where that has another compiler."""
    for name, members in stage_toolchains(scope).items():
        different = len({toolchain.name for toolchain in members.values()}) > 1
        told = {
            f"{name}-{TARGETS[architecture]}" if different else name: _member(scope, toolchain)
            for architecture, toolchain in members.items()
        }
        sources = tuple(dict.fromkeys(member["source"] for member in told.values() if member["source"]))
        yield StageSpec(
            name=name,
            template="toolchain",
            base="build-base",
            inputs={"manager": scope.system.manager, "members": told, "different": different, "home": HOME},
            uses=(*scope.os_packages, *sources),
            minutes=1,
        )


def _member(scope: Scope, toolchain: Toolchain) -> dict[str, Any]:
    """Return what the stage is told of one compiler: where it comes from, and what it must turn out to be."""
    source = scope.catalog.sources[toolchain.source] if toolchain.source else None
    names = _NAMES[toolchain.family]
    recipe = {
        "name": toolchain.name,
        "family": toolchain.family,
        "version": toolchain.version,
        "marker": toolchain.marker,
        "architectures": list(toolchain.architectures),
        "gnu_compatibility": toolchain.gnu_compatibility,
        "tools": {name: f"{toolchain.prefix}/{getattr(toolchain.tools, role)}" for role, name in names.items()},
        "runtime": [f"{toolchain.prefix}/{path}" for path in toolchain.runtime],
    }
    return {
        "title": toolchain.title,
        "note": toolchain.note,
        "packages": toolchain.packages,
        "source": f"src-{toolchain.source}" if toolchain.source else "",
        "archive": archive_name(source) if source else "",
        "prefix": toolchain.prefix,
        "recipe": json_text(recipe),
    }

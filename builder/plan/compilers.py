"""The compilers of a stage, and the cache they compile through: macro `compile_cache` in macros/build.j2. Pure."""

from __future__ import annotations

from typing import Any

from builder.plan.stage import Plan

__all__ = ["compile_caches", "compiler_inputs"]

_INPUT = "cache"


def compiler_inputs(system: str, toolset: str, cc: str, cxx: str) -> dict[str, Any]:
    """Return the inputs of a stage that compiles through the cache.

    One cache for each system and tool set, so that one does not crowd out another. Architectures share it: ccache's own
    key has the compiler's content in it, and theirs differ.

    Args:
        system: name of the operating system.
        toolset: name of the tool set, `gcc`.
        cc: the C compiler, by plain name or absolute path.
        cxx: the C++ compiler.
    """
    # Plain flags; builder/plan/optimise.py has others.
    return {_INPUT: f"drivebuild-ccache-{system}-{toolset}", "cc": cc, "cxx": cxx, "optimise": {"level": ""}}


def compile_caches(plan: Plan, target: str) -> tuple[str, ...]:
    """Return the ids of the cache mounts that the stages up to `target` compile through, each once."""
    wanted = set(plan.closure(target))
    return tuple(
        dict.fromkeys(
            stage.inputs[_INPUT] for stage in plan.stages if stage.name in wanted and stage.inputs.get(_INPUT)
        )
    )

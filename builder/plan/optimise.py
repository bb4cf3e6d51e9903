"""What the variants beyond `lto` compile, how, and with which profile. Pure.

A component that the platform names under `optimised` is compiled by the platform's toolchain with ThinLTO: `lto-full`
has no more than that, `pgo-instrument` counts what runs, `pgo` is laid out by such counts. A profile fits what was
counted in the same source, compiled by the same compiler with the same flags; `fingerprint` is what these are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from builder.errors import PlanError
from builder.plan.compiled_by import TOOLCHAIN, of_frameworks
from builder.plan.compilers import compiler_inputs
from builder.plan.scope import Scope
from builder.plan.stage import Plan, StageSpec, packages_stage
from builder.plan.toolchain import tools
from builder.recipe.types import Variant

__all__ = [
    "PROFILE",
    "PROVER",
    "TORCH",
    "Level",
    "beside_torch_stage",
    "compiled",
    "fingerprint",
    "framework_stage",
    "hot",
    "level_of",
    "optimised",
    "prover_stages",
    "stage_base",
    "stage_uses",
]

Level = Literal["", "lto", "instrument", "use"]
_LEVELS: Mapping[Variant, Level] = {"lto-full": "lto", "pgo-instrument": "instrument", "pgo": "use"}
PROVER = "optimised"
"""The stage of the script that looks after profiles and at what was compiled."""
PROFILE = "profile"
"""The stage that a folder with a profile stands for."""
TORCH = "torch-full"
"""The stage of a framework that was compiled, in place of `torch`."""
BESIDE_TORCH = "beside-torch"
"""The stage with the system's compilers beside the framework."""
_KEY = "optimise"
_OWN = ("level", "profile")
"""What differs between the stage that counts and the one that uses the counts."""


def level_of(scope: Scope, component: str) -> Level:
    """Return how a component is compiled; '' for the system's compiler and its plain flags."""
    platform = scope.platform.optimised
    named = (*platform.framework, *platform.components) if platform else ()
    return _LEVELS.get(scope.variant, "") if component in named else ""


def framework_stage(scope: Scope) -> str:
    """Return the stage that has the framework of the image."""
    return TORCH if scope.frameworks else "torch"


def optimised(scope: Scope, component: str) -> dict[str, Any]:
    """Return the inputs of a stage that compiles a component: its compilers, and how they are called.

    Raises:
        PlanError: for a compiler other than clang, whose flags these are.
    """
    level = level_of(scope, component)
    if not level:
        return compiler_inputs(scope.system.name, "gcc", "gcc", "g++")
    chosen = of_frameworks(scope)
    if other := next((item.name for item in chosen.values() if item.family != "clang"), ""):
        message = f"variant {scope.variant} of {scope.platform.name}: {other} is no clang, and its profiles are others"
        raise PlanError(message, hint="leave --toolchain out")
    toolchain = next(iter(chosen.values()))
    toolset = "-".join(dict.fromkeys(item.name for item in chosen.values()))
    found = tools(toolchain)
    how = {
        "level": level,
        "framework": framework_stage(scope),
        "profile": scope.profile if level == "use" else "",
        "hot": scope.catalog.components[component].hot.get(scope.platform.accelerator, ()),
        "tools": found,
        "gnu_compatibility": all(item.gnu_compatibility for item in chosen.values()),
    }
    return {**compiler_inputs(scope.system.name, toolset, found["cc"], found["cxx"]), _KEY: how}


def stage_base(inputs: Mapping[str, Any]) -> str:
    """Return the stage that one with these inputs starts from."""
    return TOOLCHAIN if inputs[_KEY]["level"] else BESIDE_TORCH


def stage_uses(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a stage with these inputs mounts for being optimised."""
    how = inputs[_KEY]
    return (PROVER, *((PROFILE,) if how["level"] == "use" else ())) if how["level"] else ()


def beside_torch_stage(scope: Scope) -> StageSpec:
    """Return the stage with the framework and the system's compilers, for what the latter compile against it.

    Mounted, BuildKit would go by the framework's content, and read its gigabytes for that before anything is compiled.
    """
    inputs = {"manager": scope.system.manager, "packages": scope.system.build}
    base, uses = framework_stage(scope), scope.os_packages
    return StageSpec(name=BESIDE_TORCH, template="beside-torch", base=base, inputs=inputs, uses=uses, minutes=1)


def prover_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield the stage of the script, and of the profile."""
    if scope.variant in _LEVELS:
        yield StageSpec(name=PROVER, template="optimised", base="scratch")
    if scope.variant == "pgo":
        what = "default.profdata and its provenance.json, as `drivebuild profile` leaves them"
        yield packages_stage(PROFILE, what)


def compiled(plan: Plan) -> tuple[StageSpec, ...]:
    """Return the stages of a plan that compile with LTO or a profile."""
    return tuple(stage for stage in plan.stages if stage.inputs.get(_KEY, {}).get("level"))


def hot(plan: Plan) -> tuple[str, ...]:
    """Return the patterns of functions that a profile of the plan must cover."""
    return tuple(dict.fromkeys(pattern for stage in compiled(plan) for pattern in stage.inputs[_KEY]["hot"]))


def fingerprint(plan: Plan) -> dict[str, str]:
    """Return by component what a profile must have been made of: a digest of sources, changes, flags and compiler.

    Equal for `pgo-instrument` and `pgo` of one recipe, and for all models that share the component.
    """
    stages = {stage.name: stage for stage in plan.stages}
    return {
        stage.name: _digest((_told(stage), *(_told(stages[use]) for use in stage.uses if _is_source(stages, use))))
        for stage in compiled(plan)
    }


def _is_source(stages: Mapping[str, StageSpec], name: str) -> bool:
    return name in stages and (stages[name].template.startswith("source-") or stages[name].template == "tree")


def _told(stage: StageSpec) -> dict[str, Any]:
    inputs = dict(stage.inputs)
    if inputs.get(_KEY):
        inputs[_KEY] = {key: value for key, value in inputs[_KEY].items() if key not in (*_OWN, "hot")}
    # Words for people are no part of what is compiled.
    return {"template": stage.template, "inputs": {key: value for key, value in inputs.items() if key != "title"}}


def _digest(told: tuple[dict[str, Any], ...]) -> str:
    text = json.dumps(told, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()

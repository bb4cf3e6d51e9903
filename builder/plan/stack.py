"""The stages that all models of a platform share: system, installer, Python, framework. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builder.plan.locks import MACHINES, installer_lock, merged
from builder.plan.scope import PYTHON_STOCK, Scope, read_lock
from builder.plan.sources import archive_folder, archive_name
from builder.plan.stage import StageSpec
from builder.recipe.types import Variant

__all__ = ["python_stage", "system_stages", "torch_stage"]


def system_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield the system to run on, the one to build on, and the tools that neither holds."""
    system, base = scope.system, scope.platform.base
    image = f"{base.image}@{base.digest}" if base.digest else base.image
    runtime = (*system.runtime, *system.tcmalloc)
    inputs: dict[str, Any] = {"manager": system.manager, "packages": runtime, "npu": bool(scope.cann_home)}
    yield StageSpec(name="base", template="base", base=image, inputs=inputs, minutes=1)
    inputs = {"manager": system.manager, "packages": system.build}
    yield StageSpec(name="build-base", template="build-base", base="base", inputs=inputs, minutes=1)
    installer = {machine: read_lock(scope.catalog, installer_lock(machine)) for machine in MACHINES}
    requirements = merged(installer, MACHINES)
    yield StageSpec(name="uv", template="uv", base="base", inputs={"requirements": requirements})
    yield StageSpec(name="tools", template="tools", base="scratch")


def python_stage(scope: Scope, variant: Variant) -> StageSpec:
    """Return the stage of one Python: built from source, as `variant` says."""
    python = scope.platform.python
    source = scope.catalog.sources[python.source]
    compiler = python.compiler[variant]
    inputs = {
        "version": python.version,
        "series": scope.series,
        "source": f"src-{python.source}",
        "archive": archive_name(source),
        "archive_folder": archive_folder(source),
        "variant": variant,
        "compiler": compiler,
        "shared": python.shared,
        "manager": scope.system.manager,
        "packages": (*scope.system.python_build, *scope.system.toolchains[compiler]),
        "configure": python.configure,
        "profile_task": " ".join(python.profile_task.split()),
    }
    return StageSpec(
        name=f"python-{variant}",
        template="python",
        base="build-base",
        inputs=inputs,
        uses=(f"src-{python.source}",),
        minutes=2 if variant == "stock" else 15,
    )


def torch_stage(scope: Scope) -> StageSpec:
    """Return the stage of the framework: what the platform's lock pins for all its models."""
    # BuildKit's names of the architectures; one Dockerfile serves both.
    wheels = {
        {"x86_64": "amd64", "aarch64": "arm64"}[architecture]: tuple(
            f"src-{name}" for name in scope.platform.wheels.get(architecture, ())
        )
        for architecture in scope.platform.architectures
        if scope.platform.wheels
    }
    inputs = {
        "python": PYTHON_STOCK,
        "python_series": scope.series,
        "requirements": merged(scope.framework_locks(), scope.platform.architectures),
        "wheels": wheels,
    }
    uses = (PYTHON_STOCK, "uv", *(stage for stages in wheels.values() for stage in stages))
    return StageSpec(name="torch", template="torch", base="base", inputs=inputs, uses=uses, minutes=3)

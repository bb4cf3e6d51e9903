"""The stages that all models of a platform share: system, installer, Python, framework. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from builder.plan.compiled_by import of_python, python_base
from builder.plan.locks import MACHINES, added, installer_lock, merged
from builder.plan.scope import OS_PACKAGES, PYTHON_STOCK, Scope, read_lock
from builder.plan.sources import archive_name
from builder.plan.stage import TARGETS, StageSpec, packages_stage
from builder.plan.toolchain import tools
from builder.recipe.types import Toolchain

__all__ = ["CANN", "cann_stub_stage", "python_stage", "system_stages", "torch_stages"]

CANN = "cann"
"""The stage of what stands in for CANN."""
_OS_PACKAGES = "the distribution's packages with the signed lists they are in; then no mirror is asked"


def system_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield the system to run on, the one to build on, and the tools that neither holds."""
    system, base = scope.system, scope.platform.base
    image = f"{base.image}@{base.digest}" if base.digest else base.image
    if scope.os_packages:
        yield packages_stage(OS_PACKAGES, _OS_PACKAGES)
    plain = "system" if scope.cann_way == "run" else "base"
    inputs: dict[str, Any] = {
        "manager": system.manager,
        "packages": scope.runtime_packages,
        "cann_inside": scope.cann_way == "image",
    }
    yield StageSpec(name=plain, template="base", base=image, inputs=inputs, uses=scope.os_packages, minutes=1)
    if scope.cann_way == "run":
        yield _cann_run_stage(scope)
    inputs = {"manager": system.manager, "packages": system.build}
    uses = scope.os_packages
    yield StageSpec(name="build-base", template="build-base", base="base", inputs=inputs, uses=uses, minutes=1)
    installer = {machine: read_lock(scope.catalog, installer_lock(machine)) for machine in MACHINES}
    inputs = {"requirements": merged(installer, MACHINES)}
    yield packages_stage("packages-installer")
    yield StageSpec(name="uv", template="uv", base="build-base", inputs=inputs, uses=("packages-installer",))
    yield StageSpec(name="tools", template="tools", base="scratch")


def _cann_run_stage(scope: Scope) -> StageSpec:
    """Return the stage of a plain system on which CANN's installers are run."""
    cann = scope.platform.cann
    assert cann is not None, "who asks has seen that its way is `run`"  # noqa: S101
    installers = {
        TARGETS[architecture]: tuple(
            {"stage": f"src-{name}", "file": archive_name(scope.catalog.sources[name])} for name in names
        )
        for architecture, names in cann.installers.items()
    }
    stages = tuple(item["stage"] for items in installers.values() for item in items)
    inputs = {
        "version": cann.version,
        "home": cann.home,
        "installers": installers,
        "manager": scope.system.manager,
        "packages": cann.packages,
    }
    uses = (*scope.os_packages, *stages)
    return StageSpec(name="base", template="cann-run", base="system", inputs=inputs, uses=uses, minutes=5)


def cann_stub_stage(scope: Scope) -> StageSpec:
    """Return the stage of the link-only libraries that stand in for CANN: enough to import and to compile."""
    cann = scope.platform.cann
    assert cann is not None, "who asks has seen that its way is `stub`"  # noqa: S101
    inputs = {"version": cann.version, "home": cann.home, "python": PYTHON_STOCK}
    uses = (PYTHON_STOCK, "torch")
    return StageSpec(name=CANN, template="cann-stub", base="build-base", inputs=inputs, uses=uses)


def python_stage(scope: Scope, variant: Literal["stock", "lto"]) -> StageSpec:
    """Return the stage of one Python: built from source, as `variant` says."""
    python = scope.platform.python
    source = scope.catalog.sources[python.source]
    toolchain = of_python(scope, variant)
    base = python_base(scope, variant)
    # Beside the system's own compiler these come with the stage that it starts from.
    compiler = toolchain.packages if base == "build-base" else ()
    inputs = {
        "version": python.version,
        "series": scope.series,
        "source": f"src-{python.source}",
        "archive": archive_name(source),
        "variant": variant,
        "compiler": toolchain.family,
        "shared": python.shared,
        "manager": scope.system.manager,
        "packages": (*scope.system.python_build, *compiler),
        "configure": python.configure,
        "profile_task": " ".join(python.profile_task.split()),
        **_python_lto(toolchain, scope.series),
    }
    return StageSpec(
        name=f"python-{variant}",
        template="python",
        base=base,
        inputs=inputs,
        uses=(*scope.os_packages, f"src-{python.source}"),
        minutes=2 if variant == "stock" else 15,
    )


def _python_lto(toolchain: Toolchain, series: str) -> dict[str, Any]:
    """Return what an optimised build is told of its compiler."""
    if toolchain.family == "gcc":
        return {"lto_option": "--with-lto", "link_options": (), "tools": {}}
    # `thin` is a value of the option since 3.11.
    thin = tuple(map(int, series.split("."))) >= (3, 11)
    called = tools(toolchain)
    linker = (f"--ld-path={called['linker']}", "-Wl,-z,keep-text-section-prefix")
    generator = tuple(f"-Wl,-mllvm,{option}" for option in toolchain.interpreter)
    return {
        "lto_option": "--with-lto=thin" if thin else "--with-lto",
        "link_options": (*linker, *generator),
        "tools": called,
    }


def torch_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield the stage of the framework, what the platform's locks pin for all its models; and its packages."""
    wheels = {
        TARGETS[architecture]: tuple(f"src-{name}" for name in scope.platform.wheels.get(architecture, ()))
        for architecture in scope.platform.architectures
        if scope.platform.wheels
    }
    inputs = {
        "python": PYTHON_STOCK,
        "python_series": scope.series,
        "requirements": merged(scope.framework_locks(), scope.platform.architectures),
        "adapter": _adapter(scope),
        "wheels": wheels,
        "built": (),
        "replaced": (),
        "runtime": "",
    }
    packages = ["packages-framework"]
    yield packages_stage("packages-framework")
    if scope.platform.adapter:
        packages.append("packages-adapter")
        yield packages_stage("packages-adapter")
    uses = (PYTHON_STOCK, "uv", *packages, *(stage for stages in wheels.values() for stage in stages))
    yield StageSpec(name="torch", template="torch", base="base", inputs=inputs, uses=uses, minutes=3)


def _adapter(scope: Scope) -> tuple[str, ...]:
    """Return the lines that the adapter's lock adds to the framework's."""
    framework = scope.framework_locks()
    own = {name: added(lock, framework[name]) for name, lock in scope.stack_locks().items()}
    return merged(own, scope.platform.architectures)

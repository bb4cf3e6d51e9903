"""The stages of one component: its source with its changes, and what is built from it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from builder.plan.optimise import framework_stage, optimised, stage_base, stage_uses
from builder.plan.scope import PYTHON_STOCK, Scope
from builder.plan.sources import archive_name
from builder.plan.stack import CANN
from builder.plan.stage import StageSpec
from builder.plan.steps import step_inputs
from builder.recipe.types import Component, ComponentUse, Step

__all__ = ["PAGE_KIB", "component_stages"]

PAGE_KIB = 64
"""Pages of a tcmalloc that is compiled: what the READMEs say, for every architecture (facts: platform.md 3.7)."""


def component_stages(scope: Scope, use: ComponentUse) -> Iterator[StageSpec]:
    """Yield the stages that build one component: its changed source, where it is changed, and the wheel."""
    component = scope.catalog.components[use.name]
    origin = scope.origin(use)
    source = scope.catalog.sources[origin]
    if component.template == "tcmalloc":
        yield _tcmalloc_stage(scope, use, origin)
        return
    steps = scope.component_steps(use)
    stage, folder, archive = f"src-{origin}", "", archive_name(source)
    if steps or use.keep_tree:
        yield _changed_source_stage(scope, use, component, origin, steps)
        stage, folder, archive = f"{use.name}-source", f"/build/{use.name}", ""
    yield _wheel_stage(scope, use, component, stage, folder, archive)


def _changed_source_stage(
    scope: Scope, use: ComponentUse, component: Component, origin: str, steps: tuple[Step, ...]
) -> StageSpec:
    source = scope.catalog.sources[origin]
    inputs = {
        "title": f"{component.title} {use.version}, with the changes that are made before it is built.",
        "source": f"src-{origin}",
        "archive": archive_name(source),
        "root": f"/build/{use.name}",
        "directory": ".",
        "trees": (),
        "links": (),
        **step_inputs(steps, scope.catalog, patch_in=".", upstream=origin),
    }
    return StageSpec(
        name=f"{use.name}-source",
        template="tree",
        base="build-base",
        inputs=inputs,
        uses=(f"src-{origin}", "tools", *inputs["sources"]),
    )


def _wheel_stage(
    scope: Scope, use: ComponentUse, component: Component, stage: str, folder: str, archive: str
) -> StageSpec:
    environment = dict(component.environment)
    if scope.accelerator == "npu":
        environment |= component.environment_npu
    present = {item.name for item in scope.uses}
    wheels = tuple(need for need in component.needs if need in present)
    wants_cann = component.cann != "none" and scope.cann_home
    # Elsewhere it is in the base image.
    stub = CANN if wants_cann and scope.cann_way == "stub" else ""
    inputs = {
        "title": component.title,
        "version": use.version,
        "component": use.name,
        "source": stage,
        "path": folder,
        "archive": archive,
        "pure": component.pure,
        "python": PYTHON_STOCK,
        "cann_home": scope.cann_home if wants_cann else "",
        "cann_stage": stub,
        **optimised(scope, use.name),
        "environment": dict(sorted(environment.items())),
        "wheels": wheels,
    }
    # What the system's own compiler compiles starts from the framework.
    framework = (framework_stage(scope),) if inputs["optimise"]["level"] else ()
    return StageSpec(
        name=use.name,
        template="wheel",
        base=stage_base(inputs),
        inputs=inputs,
        uses=(PYTHON_STOCK, *framework, stage, *wheels, *((stub,) if stub else ()), *stage_uses(inputs)),
        minutes=component.minutes,
    )


def _tcmalloc_stage(scope: Scope, use: ComponentUse, origin: str) -> StageSpec:
    # A release has its configure script; what a tag's tree lacks is made by autotools.
    released = scope.tcmalloc == "release"
    inputs = {
        "version": use.version,
        "source": f"src-{origin}",
        "archive": archive_name(scope.catalog.sources[origin]),
        "manager": scope.system.manager,
        "packages": () if released else scope.system.tcmalloc_build,
        "page_kib": PAGE_KIB,
        "page_shift": (PAGE_KIB << 10).bit_length() - 1,
    }
    return StageSpec(
        name=use.name,
        template="tcmalloc",
        base="build-base",
        inputs=inputs,
        uses=(*(() if released else scope.os_packages), f"src-{origin}"),
        minutes=2,
    )

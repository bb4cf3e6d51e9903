"""PyTorch and torch_npu from source, in place of the packages that the platform's locks name. Pure.

The variants beyond `lto` of a platform that names components under `optimised.framework` have a stage for each, and one
more that is made as `torch` is, without those packages and with their wheels. What is compiled for the image is
compiled against that one: an extension and the libraries it is loaded into must agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from builder.plan.optimise import TORCH, optimised, stage_base, stage_uses
from builder.plan.scope import PYTHON_STOCK, Scope
from builder.plan.stage import StageSpec
from builder.plan.steps import step_inputs
from builder.plan.toolchain import RUNTIME
from builder.recipe.types import Component, ComponentUse, Edit, Step

__all__ = ["framework_stages", "framework_steps"]

ROOM: Mapping[str, tuple[int, int, int]] = {"pytorch": (16, 30, 4), "torch-npu": (12, 15, 3)}
"""GiB of memory that are wanted, of disk, and of memory for each compile job. Estimates, on the safe side: nobody has
measured them here (facts: platform.md 3.1 has other people's)."""
_COMPATIBILITY = Edit(
    file="CMakeLists.txt",
    find='"-fGNU-compatibility -fuse-ld=lld',
    replace='"-fuse-ld=lld',
    note="this compiler has no such flag, and stops at it",
)


def framework_steps(scope: Scope, use: ComponentUse) -> tuple[Step, ...]:
    """Return what is done to a framework's source before it is built."""
    steps = scope.component_steps(use)
    knows = optimised(scope, use.name)["optimise"].get("gnu_compatibility", True)
    return steps if knows or scope.template(use) != "torch-npu" else (*steps, _COMPATIBILITY)


def framework_stages(scope: Scope, torch: StageSpec) -> Iterator[StageSpec]:
    """Yield the stages of frameworks that are compiled; `torch` is the stage of those that are not."""
    uses = scope.frameworks
    if not uses:
        return
    for use in uses:
        component = scope.catalog.components[use.name]
        if framework_steps(scope, use):
            yield _source_stage(scope, use, component)
        yield _build_stage(scope, use, component, tuple(item.name for item in uses))
    packages = {scope.catalog.components[use.name].package for use in uses}
    yield _full_stage(scope, torch, packages, tuple(use.name for use in uses))


def _source_stage(scope: Scope, use: ComponentUse, component: Component) -> StageSpec:
    origin = scope.origin(use)
    inputs = {
        "title": f"{component.title} {use.version}, with the changes that are made before it is built.",
        "source": f"src-{origin}",
        "archive": "",
        "root": f"/build/{use.name}",
        "directory": ".",
        "trees": (),
        "links": (),
        **step_inputs(framework_steps(scope, use), scope.catalog, patch_in=".", upstream=origin),
    }
    uses = (f"src-{origin}", "tools", *inputs["sources"])
    return StageSpec(name=f"{use.name}-source", template="tree", base="build-base", inputs=inputs, uses=uses)


def _build_stage(scope: Scope, use: ComponentUse, component: Component, names: tuple[str, ...]) -> StageSpec:
    memory, disk, each = ROOM[component.template]
    needs = tuple(name for name in component.needs if name in names)
    source, path = f"src-{scope.origin(use)}", ""
    if framework_steps(scope, use):
        source, path = f"{use.name}-source", f"/build/{use.name}"
    inputs: dict[str, Any] = {
        "title": component.title,
        "version": use.version,
        "component": use.name,
        "source": source,
        "path": path,
        "python": PYTHON_STOCK,
        "tag": f"cp{scope.series.replace('.', '')}",
        "runtime": RUNTIME,
        "environment": dict(sorted(component.environment.items())),
        # PyTorch stands on no other wheel, and its template asks for none.
        **({"wheels": needs} if needs else {}),
        "room": {"memory": memory, "disk": disk, "each": each},
        **optimised(scope, use.name),
    }
    return StageSpec(
        name=use.name,
        template=component.template,
        base=stage_base(inputs),
        inputs=inputs,
        uses=(PYTHON_STOCK, "torch", source, *needs, *stage_uses(inputs)),
        minutes=component.minutes,
    )


def _full_stage(scope: Scope, torch: StageSpec, packages: set[str], names: tuple[str, ...]) -> StageSpec:
    """Return the stage that is as `torch`, with what was compiled in place of what was published."""
    inputs = dict(torch.inputs)
    for key in ("requirements", "adapter"):
        inputs[key] = tuple(line for line in inputs[key] if line.partition("==")[0] not in packages)
    inputs["wheels"] = {
        architecture: tuple(stage for stage in stages if not _replaced(scope, stage, packages))
        for architecture, stages in dict(inputs["wheels"]).items()
    }
    kept = {stage for stages in inputs["wheels"].values() for stage in stages}
    gone = {stage for stages in dict(torch.inputs["wheels"]).values() for stage in stages} - kept
    uses = (*(use for use in torch.uses if use not in gone), *names, "toolchain")
    inputs |= {"built": names, "replaced": tuple(sorted(packages)), "runtime": RUNTIME}
    return StageSpec(name=TORCH, template="torch", base=torch.base, inputs=inputs, uses=uses, minutes=3)


def _replaced(scope: Scope, stage: str, packages: set[str]) -> bool:
    """Return whether the file of a stage is a wheel of one of the packages."""
    source = scope.catalog.sources[stage.removeprefix("src-")]
    file = str(getattr(source, "file", "") or getattr(source, "url", "")).rsplit("/", 1)[-1]
    return file.partition("-")[0] in packages

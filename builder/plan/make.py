"""(catalog, model, platform, variant, options) to a Plan. Pure.

The modules beside this one make the stages of one kind each and give every stage exactly what its template may see.
What is particular to a model enters only `env` (its locked dependencies and wheels), `tree`, `overlay-*`,
`image` and the components it changes; all other stages are byte-equal between models of one platform.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from builder.errors import PlanError
from builder.plan.allocator import allocators_stage
from builder.plan.common import common_stages
from builder.plan.components import component_stages
from builder.plan.frameworks import framework_stages
from builder.plan.image import MODEL_PACKAGES, env_stage, image_stage, overlay_stages, tree_stage
from builder.plan.manifest import manifest_stage
from builder.plan.optimise import beside_torch_stage, prover_stages
from builder.plan.order import in_order
from builder.plan.scope import Scope, scope_of
from builder.plan.sdists import fetcher_stage, sdist_stages
from builder.plan.select import known
from builder.plan.sources import overrides, source_stages
from builder.plan.stack import cann_stub_stage, python_stage, system_stages, torch_stages
from builder.plan.stage import Plan, StageSpec, packages_stage
from builder.plan.toolchain import toolchain_stages
from builder.recipe.types import Catalog, Model

__all__ = ["known", "make_plan"]


def make_plan(
    catalog: Catalog,
    model: str,
    *,
    platform: str = "",
    variant: str = "stock",
    architecture: str = "",
    options: Mapping[str, str] | None = None,
    pinned: Mapping[str, str] | None = None,
    toolchain: str = "",
    profile: str = "",
) -> Plan:
    """Return the stages of one image, each after all it depends on.

    Raises:
        PlanError: for a model, platform, variant, architecture, option or toolchain that does not exist, for a lock
            that is missing, for two stages of one name, and for stages that need each other in a circle (the message
            spells the circle).
    """
    scope = scope_of(
        catalog,
        model,
        platform=platform,
        variant=variant,
        architecture=architecture,
        options=options,
        pinned=pinned,
        toolchain=toolchain,
        profile=profile,
    )
    stages = _by_name(_stages(scope), scope.platform.base.image)
    order = in_order({name: (stage.base, *stage.uses) for name, stage in stages.items()})
    plan = Plan(
        model=scope.model,
        platform=scope.platform,
        variant=scope.variant,
        options={key: value for key, value in (options or {}).items() if value != _default(scope.model, key)},
        stages=tuple(stages[name] for name in order),
        pinned=overrides(scope),
        toolchain=scope.toolchain,
        narrowed=scope.architectures,
        profile=scope.profile,
    )
    needed = set(plan.closure("image"))
    return replace(plan, stages=tuple(stage for stage in plan.stages if stage.name in needed))


def _by_name(stages: Iterable[StageSpec], base: str) -> dict[str, StageSpec]:
    """Return the stages by name. A component of a stage's name would stand in its place, and say what it likes for it.

    Raises:
        PlanError: when two have one name, or one has a name that means an image in a Dockerfile.
    """
    found: dict[str, StageSpec] = {}
    for stage in stages:
        if stage.name in ("scratch", base) or found.setdefault(stage.name, stage) != stage:
            hint = "another name for the component: stages have the names of components, and these are taken"
            raise PlanError(f"two stages would have the name {stage.name!r}", hint=hint)
    return found


def _default(model: Model, name: str) -> str:
    return next(option.default for option in model.options if option.name == name)


def _stages(scope: Scope) -> Iterator[StageSpec]:
    yield from system_stages(scope)
    yield fetcher_stage()
    yield from source_stages(scope)
    yield from toolchain_stages(scope)
    yield from prover_stages(scope)
    yield python_stage(scope, "stock")
    if scope.variant != "stock":
        # Every variant beyond it has the same Python.
        yield python_stage(scope, "lto")
    torch = tuple(torch_stages(scope))
    yield from torch
    frameworks = tuple(framework_stages(scope, torch[-1]))
    yield from frameworks
    yield beside_torch_stage(scope)
    if scope.cann_way == "stub":
        yield cann_stub_stage(scope)
    components = tuple(stage for use in scope.uses for stage in component_stages(scope, use))
    yield from components
    if scope.tcmalloc:
        stage = next((use.name for use in scope.uses if scope.template(use) == "tcmalloc"), "")
        yield allocators_stage(scope.system, scope.tcmalloc, scope.os_packages, stage)
    yield from sdist_stages(scope)
    yield from common_stages(scope)
    yield packages_stage(MODEL_PACKAGES)
    yield env_stage(scope)
    tree, overlays = tree_stage(scope), tuple(overlay_stages(scope))
    yield tree
    yield from overlays
    changed = (*frameworks, *components, tree, *overlays)
    yield manifest_stage(scope, tuple(stage.name for stage in changed if stage.inputs.get("steps")))
    yield image_stage(scope, tuple(stage.name for stage in overlays))

"""What most models lock alike is one stage, the same for all that do."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from builder.plan.common import COMMON, COMMON_PACKAGES, LIBRARIES
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_stage
from builder.source.catalog import read_templates

ALL = ("flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer")
THREE = ("flashocc", "pivotnet", "streampetr")
LEAST = 8
"""Distributions of `common` at least: fewer would not be worth a stage."""


def plan_of(catalog: Catalog, model: str, platform: str, variant: str = "stock") -> Plan:
    return make_plan(catalog, model, platform=platform, variant=variant, options={})


def common_text(plan: Plan) -> str:
    return render_stage(next(stage for stage in plan.stages if stage.name == COMMON), read_templates())


@pytest.mark.parametrize(
    ("platform", "models"), [("debian-12-cpu", ALL), ("cann-8.1.rc1", THREE), ("cann-8.1.rc1-stub", THREE)]
)
def test_all_models_of_a_platform_share_it(catalog: Catalog, platform: str, models: tuple[str, ...]) -> None:
    # a difference means that one of them locks a package in another version: take that one out of the list, or relock
    texts = {common_text(plan_of(catalog, model, platform)) for model in models}
    assert len(texts) == 1
    assert texts.pop().count("--hash=") >= LEAST


def test_a_platform_without_the_list_has_no_such_stage(catalog: Catalog) -> None:
    platform = replace(catalog.platforms["debian-12-cpu"], common=())
    plan = plan_of(
        replace(catalog, platforms={**catalog.platforms, platform.name: platform}), "tpvformer", platform.name
    )
    stages = {stage.name: stage for stage in plan.stages}
    assert not {COMMON, COMMON_PACKAGES} & set(stages)
    assert stages["env"].base == LIBRARIES
    assert any(line.startswith("numba==") for line in stages["env"].inputs["requirements"])


def test_every_name_is_in_a_lock(catalog: Catalog) -> None:
    # no rule of the recipes: locks are made from them
    for platform in catalog.platforms.values():
        folder = f"{platform.locks or platform.name}/"
        names = {
            line.split("==")[0]
            for path, text in catalog.locks.items()
            if path.startswith(folder)
            for line in text.split()
        }
        assert not set(platform.common) - names, platform.name


def test_who_shares_locks_shares_the_list(catalog: Catalog) -> None:
    for platform in catalog.platforms.values():
        if platform.locks:
            assert platform.common == catalog.platforms[platform.locks].common, platform.name


def test_another_python_does_not_move_it(catalog: Catalog) -> None:
    texts = {common_text(plan_of(catalog, "streampetr", "debian-12-cpu", variant)) for variant in ("stock", "lto")}
    assert len(texts) == 1


def test_every_package_is_installed_once(catalog: Catalog) -> None:
    for model in ALL:
        plan = plan_of(catalog, model, "debian-12-cpu")
        lines = {stage.name: stage.inputs.get("requirements", ()) for stage in plan.stages}
        common, own = set(lines[COMMON]), set(lines["env"])
        assert common
        assert own
        assert not common & own
        packages = {line.split("==")[0] for line in common | own}
        assert len(packages) == len(common | own)


def test_it_lies_between_the_framework_and_the_environment(catalog: Catalog) -> None:
    stages = {stage.name: stage for stage in plan_of(catalog, "tpvformer", "debian-12-cpu").stages}
    assert stages["env"].base == COMMON
    assert stages[COMMON].base == LIBRARIES
    assert stages[LIBRARIES].base == "torch"

"""What most models lock alike is one stage, the same for all that do."""

from __future__ import annotations

import pytest

from builder.plan.common import COMMON
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
    assert stages[COMMON].base == "torch"

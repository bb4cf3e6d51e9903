"""The cold build's fixture has the product's stages, whatever they have become."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.fixture import run, strategies
from benchmarks.fixture.matrix import MODELS, VARIANTS
from benchmarks.fixture.standins import sides, stand_in
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_stage

OURS = tuple(name for name in strategies.STRATEGIES if name.startswith("drivebuild"))
UNIT = re.compile(r"\bunit\.sh (\S+)")
NOT_ON_CPUS = {"cann", "torch_npu", "driving-sdk", "mindspeed", "detectron2", "tcmalloc"}
"""The Debian platform has its libtcmalloc from a package."""


def kinds(model: str, variant: str) -> list[str]:
    """What the matrix says of a model, and the stock Python that wheels are compiled against."""
    found = {unit.kind for unit in MODELS[model] if not unit.kind.startswith("python-")}
    return sorted(found | {"python-stock", f"python-{variant}"})


@pytest.mark.parametrize("strategy", OURS)
def test_every_stage_starts_from_copies_and_mounts_what_the_product_s_does(
    catalog: Catalog, templates: dict[str, str], strategy: str
) -> None:
    for plan, _ in strategies.plans(catalog, strategy):
        text = strategies.text_of(plan, templates, "salt")  # compares, stage by stage
        for stage in plan.stages:
            assert re.search(rf"^FROM \S+ AS {re.escape(stage.name)}$", text, re.MULTILINE)


@pytest.mark.parametrize("model", MODELS)
def test_the_units_are_those_of_the_matrix(catalog: Catalog, templates: dict[str, str], model: str) -> None:
    plan = make_plan(catalog, model, variant=VARIANTS[model])
    assert sorted(UNIT.findall(strategies.text_of(plan, templates, "salt"))) == kinds(model, VARIANTS[model])


@pytest.mark.parametrize("model", MODELS)
def test_the_units_on_cpus_are_those_of_the_matrix(catalog: Catalog, templates: dict[str, str], model: str) -> None:
    plan = make_plan(catalog, model, platform="debian-12-cpu")
    wanted = sorted(set(kinds(model, "stock")) - NOT_ON_CPUS)
    assert sorted(UNIT.findall(strategies.text_of(plan, templates, "salt"))) == wanted


def test_a_stage_that_lost_a_mount_is_refused(
    catalog: Catalog, templates: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(*arguments: object, **more: object) -> str:
        return stand_in(*arguments, **more).replace("--mount=type=bind,from=uv", "--network=default")  # type: ignore[arg-type]

    monkeypatch.setattr(strategies, "stand_in", forgetful)
    with pytest.raises(SystemExit, match="the fixture's stage torch has"):
        strategies.text_of(make_plan(catalog, "flashocc"), templates, "salt")


def test_a_stage_that_nothing_stands_in_for_is_refused(catalog: Catalog, templates: dict[str, str]) -> None:
    plan = make_plan(catalog, "flashocc", platform="cann-8.1.rc1-stub")
    with pytest.raises(SystemExit, match="nothing stands in for what stage cann runs"):
        strategies.text_of(plan, templates, "salt")


def test_another_command_of_the_product_s_is_another_stand_in(catalog: Catalog, templates: dict[str, str]) -> None:
    plan = make_plan(catalog, "flashocc")
    other = templates | {"stages/wheel.j2": templates["stages/wheel.j2"].replace("pip wheel", "pip wheel --verbose")}
    assert other != templates
    changed = {
        stage.template
        for stage in plan.stages
        if stand_in(stage, templates, base="b", salt="s") != stand_in(stage, other, base="b", salt="s")
    }
    assert changed == {"wheel"}


def test_comments_are_none_of_a_stage_s_commands(catalog: Catalog, templates: dict[str, str]) -> None:
    plan = make_plan(catalog, "flashocc")
    stage = next(stage for stage in plan.stages if stage.template == "torch")
    text = stand_in(stage, templates, base="b", salt="s")
    assert "# " not in text
    assert len(sides(text)) == len(sides(render_stage(stage, templates))) > 5


def test_platforms_differ_and_the_salt_makes_all_of_them_cold(catalog: Catalog, templates: dict[str, str]) -> None:
    texts = {
        stand_in(make_plan(catalog, model).stages[0], templates, base="b", salt=salt)
        for model in ("flashocc", "pivotnet", "panoocc", "tpvformer")
        for salt in ("one", "two")
    }
    assert len(texts) == 3 * 2


@pytest.mark.parametrize("strategy", OURS)
def test_what_the_scenarios_edit_is_there(tmp_path: Path, strategy: str) -> None:
    commands = strategies.write(strategy, tmp_path / strategy, "salt")
    assert all(Path(command[command.index("--file") + 1]).is_file() for command in commands)
    for name, files in run.edits(strategy, tmp_path / strategy).items():
        assert files, name

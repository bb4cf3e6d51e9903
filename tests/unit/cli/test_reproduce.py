"""`reproduce` before it builds: what is built is what the record has, not what the recipes say today."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.cli import drivebuild, refused
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.cli.building import Words
from builder.cli.main import Settings
from builder.cli.reproduce import _again_choices, with_dependants
from builder.cli.reproduceread import placed, plan_of
from builder.engine.command import Choices, build_command
from builder.engine.process import Result
from builder.engine.push import Way
from builder.engine.snapshot import KeptStage, Snapshot
from builder.errors import BuildError, UsageError
from builder.plan.stage import Plan

WORDS = Words(
    until="",
    tag="",
    jobs=None,
    ca_bundle=None,
    sources=None,
    arguments=None,
    store=None,
    offline=False,
    agreements=(),
    no_cache=True,
    progress="json",
)


def kept_of(plan: Plan, **more: Any) -> Snapshot:
    """Return what is kept of an image that was built by a plan, with no more than has to be."""
    plain: dict[str, Any] = {name: {} for name in ("digests", "templates", "images", "bases", "contexts")}
    return Snapshot(
        when="2026-01-01T00:00:00Z",
        image_id="sha256:1",
        target=plan.names[-1],
        model=plan.model.name,
        platform=plan.platform.name,
        variant=plan.variant,
        **{"tag": plan.tag, "stages": {"base": KeptStage(template="base", base="x")}, **plain, **more},
    )


def test_the_second_image_is_of_the_first_ones_recipe() -> None:
    settings = Settings()
    plan = settings.plan("streampetr", platform="debian-12-cpu", variant="stock", options={})
    stages = {"base": KeptStage(template="base", base="x"), "image": KeptStage(template="image", base="base")}
    kept = kept_of(plan, stages=stages, digests={plan.names[-1]: "cd" * 32})
    planned, choices = _again_choices(settings, plan, kept, WORDS, second="again:1", stages=("base",))
    assert choices.again == ("base", "image")
    words = build_command(planned, choices, folder=Path("folder"))
    assert words[words.index("--label") + 1] == f"drivebuild.recipe={'cd' * 32}"
    assert words[words.index("--tag") + 1] == "again:1"


def test_an_image_for_another_architecture_is_built_for_it_again() -> None:
    settings = Settings()
    own = settings.plan("pivotnet", platform="cann-8.1.rc1", variant="stock", options={})
    kept = kept_of(own, tag=f"{own.tag}-arm64", architecture="aarch64")
    assert plan_of(settings, kept, "aarch64").foreign == ""
    plan, choices = _again_choices(
        settings, plan_of(settings, kept, "x86_64"), kept, WORDS, second="again:1", stages=()
    )
    assert plan.tag == kept.tag
    words = build_command(plan, choices, folder=Path("folder"))
    assert words[words.index("--platform") + 1] == "linux/arm64"


@pytest.mark.parametrize(
    ("image", "builder", "asked"),
    [
        ("x86_64", "linux/amd64", ""),
        ("x86_64", "linux/arm64, linux/amd64", "x86_64"),
        ("aarch64", "linux/arm64", ""),
        ("aarch64", "linux/amd64, linux/arm64", "aarch64"),
        ("", "linux/arm64", ""),
    ],
)
def test_a_builder_of_another_architecture_builds_for_the_images(image: str, builder: str, asked: str) -> None:
    assert given(image, builder).target == asked


def test_a_builder_that_cannot_run_the_images_programs_is_refused() -> None:
    with pytest.raises(BuildError, match="builder far cannot run programs for x86_64"):
        given("x86_64", "linux/arm64")


def given(image: str, platforms: str) -> Choices:
    """Return the choices for an image of an architecture, on a builder elsewhere of these platforms."""
    node = f"Name: far0\nEndpoint: tcp://far:1\nStatus: running\nPlatforms: {platforms}\n"
    said = f"Name: far\nDriver: remote\n\nNodes:\n{node}"
    runner = RecordingRunner(answers={("docker", "buildx", "inspect"): Result(0, said.encode(), b"")})
    way = Way(runner=runner, engine=cast("Any", FakeEngine()))
    return placed(
        toy_plan(stage("image")), Choices(), cast("Any", SimpleNamespace(architecture=image)), way, builder="far"
    )


def test_a_stage_brings_all_that_need_it() -> None:
    needs = {"base": ("debian",), "wheel": ("base",), "env": ("base", "wheel"), "other": ("base",)}
    assert with_dependants(("wheel",), needs) == ("wheel", "env")
    with pytest.raises(UsageError, match="no stage 'whel'") as caught:
        with_dependants(("whel",), needs)
    assert "wheel" in caught.value.hint


def test_a_report_that_nobody_can_write_is_said_before_the_build(tmp_path: Path) -> None:
    said = refused(drivebuild("reproduce", "x", "--report", str(tmp_path / "gone/report.json")), 2)
    assert "--report" in said
    assert "no file can be made there" in said

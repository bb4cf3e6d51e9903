"""A newcomer's sixth model: one YAML file and its locks in a folder of one's own, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.cli import drivebuild
from support.dockerfile import parse
from support.locks import HASH

from builder.errors import RecipeError
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.compose import render_compose
from builder.render.dockerfile import render_dockerfile, render_stage
from builder.source.catalog import read_catalog

SIXTH = f"""\
name: toynet
title: ToyNet
summary: A model that does not exist
licence: MIT
readme: {{commit: {"d" * 40}, source: driving-sdk-7.0.rc1, path: model_examples/ToyNet/README.md}}
platform: cann-8.1.rc1
sources:
  toynet: {{type: git, url: "https://example.org/toynet.git", commit: {"e" * 40}, licence: MIT}}
tree:
  source: toynet
  directory: ToyNet
  steps:
    - {{do: edit, file: ToyNet/train.py, find: "backend='nccl'", replace: "backend='hccl'"}}
requirements: {{packages: [einops]}}
components:
  - {{name: mmcv, version: "1.7.2"}}
  - {{name: mmdet, version: "2.28.2"}}
  - {{name: driving-sdk, version: "7.0.rc1", on: npu}}
data: {{dataset: nuscenes, root: data/nuscenes, entries: [{{path: samples}}]}}
weights: []
jobs:
  - {{name: train-8p, title: Train, directory: ToyNet, command: [bash, train.sh], success: 'loss=([\\d.]+)', batch: 2}}
log:
  steps:
    find: 'step='
    match: 'ep=(?P<epoch>\\d+) step=(?P<step>\\d+)/(?P<of>\\d+) '
    between: ' '
    equals: '='
    names: {{time: sec}}
  metrics: [{{name: IoU, find: 'final IoU', match: 'final IoU (?P<value>[\\d.]+)', unit: percent}}]
results:
  - chip: Some NPU
    cards: 8
    global_batch: 16
    epochs: 2
    metrics: {{IoU: 50.0}}
    step_seconds: 0.5
    reference: true
"""
SHARED = ("base", "build-base", "uv", "tools", "python-stock", "torch", "mmcv", "mmdet", "src-mmcv-1.x", "driving-sdk")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/toynet.yaml").write_text(SIXTH, encoding="utf-8")
    for platform in ("cann-8.1.rc1", "cann-8.1.rc1-stub", "debian-12-cpu"):
        (tmp_path / "locks" / platform).mkdir(parents=True)
        for architecture in ("aarch64", "x86_64"):
            (tmp_path / "locks" / platform / f"toynet.{architecture}.txt").write_text(f"einops==0.8.0{HASH}\n")
    return tmp_path


@pytest.fixture
def six(folder: Path) -> Catalog:
    return read_catalog((folder,))


def test_it_is_one_of_the_models(six: Catalog) -> None:
    assert "toynet" in six.models
    assert len(six.models) >= 6


@pytest.mark.parametrize(
    "platform", ["cann-8.1.rc1", "cann-8.1.rc1-ubuntu22.04", "cann-8.1.rc1-run", "cann-8.1.rc1-stub", "debian-12-cpu"]
)
@pytest.mark.parametrize("variant", ["stock", "lto"])
def test_it_renders(six: Catalog, templates: dict[str, str], platform: str, variant: str) -> None:
    plan = make_plan(six, "toynet", platform=platform, variant=variant)
    text = render_dockerfile(plan, templates)
    assert "einops==0.8.0" in text
    bodies = [item.body for item in parse(text) if item.kind == "RUN"]
    script = "\n".join(f"f{number}() {{ {body}\n}}" for number, body in enumerate(bodies))
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    assert "toynet-train-8p" in render_compose(six, six.models["toynet"], templates)


def test_it_shares_its_platforms_stages_byte_for_byte(six: Catalog, templates: dict[str, str]) -> None:
    mine = {stage.name: render_stage(stage, templates) for stage in make_plan(six, "toynet").stages}
    theirs = {stage.name: render_stage(stage, templates) for stage in make_plan(six, "streampetr").stages}
    for name in SHARED:
        if name in theirs:
            assert mine[name] == theirs[name], name
    assert {"base", "torch", "mmcv"} <= set(mine) & set(theirs)


def test_its_log_is_read_and_compared_without_any_python(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    lines = [f"ep={epoch} step={step}/100 loss=0.5 sec=0.6" for epoch in (1, 2) for step in range(10, 101, 10)]
    log.write_text("\n".join([*lines, "final IoU 50.1"]))
    result = drivebuild("--recipes", str(folder), "results", str(log), "--model", "toynet")
    assert "0.6 s against 0.5 s: 20 % slower" in result.output
    assert "50.10 % against 50 %: as published" in result.output


def test_it_changes_nothing_of_the_others(six: Catalog, catalog: Catalog, templates: dict[str, str]) -> None:
    for name in catalog.models:
        before = render_dockerfile(make_plan(catalog, name), templates)
        assert render_dockerfile(make_plan(six, name), templates) == before


def test_a_mistake_in_it_names_the_users_file(folder: Path) -> None:
    path = folder / "models/toynet.yaml"
    path.write_text(SIXTH.replace("licence: MIT\nreadme", "license: MIT\nreadme"), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        read_catalog((folder,))
    assert f"{path}:4:1: recipe: unknown key 'license' (did you mean 'licence'?)" in caught.value.message


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such folder of recipes") as caught:
        read_catalog((tmp_path / "none",))
    assert "--recipes" in caught.value.hint

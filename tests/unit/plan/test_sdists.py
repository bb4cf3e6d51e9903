"""Locked source archives: which they are, where they are fetched and built, and what is installed from where."""

from __future__ import annotations

import pytest
from support.files import PLATFORM, texts, toy
from support.locks import HASH, with_locks

from builder.plan.make import make_plan
from builder.plan.needs import PackageNeed, plan_needs
from builder.plan.stage import Plan, StageSpec
from builder.recipe.load import load
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_stage

OLD = f"old-thing==1.0+x --hash=sha256:{'c' * 64} # old_thing-1.0+x.tar.gz"
FETCHED, BUILT = "sdist-old-thing-1.0-x", "wheel-old-thing-1.0-x"


def catalog_of(*, arm: str = OLD, intel: str = OLD, common: str = "[tqdm]") -> Catalog:
    files = toy()
    files["platforms/plat.yaml"] = PLATFORM.replace("common: [tqdm]", f"common: {common}")
    lock = f"numpy==1.23.5{HASH}\neinops==0.8.0{HASH}\ntqdm==4.67.0{HASH}\n"
    locks = {"plat/toy.aarch64.txt": lock + arm, "plat/toy.x86_64.txt": lock + intel}
    return with_locks(load(texts(files), locks))


def stages_of(plan: Plan) -> dict[str, StageSpec]:
    return {stage.name: stage for stage in plan.stages}


def test_it_is_fetched_built_and_installed_apart(templates: dict[str, str]) -> None:
    stages = stages_of(make_plan(catalog_of(), "toy"))
    fetched, built, env = (render_stage(stages[name], templates) for name in (FETCHED, BUILT, "env"))
    assert "--file old_thing-1.0+x.tar.gz" in fetched
    assert f"--sha256 {'c' * 64}" in fetched
    assert "--network" not in fetched
    assert "RUN --network=none " in built
    assert "secret" not in built
    assert "type=cache" not in built
    assert "pip wheel" in built
    assert "uname" not in built
    wheels, archives = env.split("/opt/drivebuild/locks/model-archives.txt")
    assert "old-thing" not in wheels
    assert f"--find-links /wheels/{BUILT} old-thing==1.0+x" in archives
    assert stages[BUILT].base == "beside-torch"


def test_the_layer_that_models_share_has_its_own(templates: dict[str, str]) -> None:
    stages = stages_of(make_plan(catalog_of(common="[tqdm, old-thing]"), "toy"))
    assert "old-thing" not in render_stage(stages["env"], templates)
    common = render_stage(stages["common"], templates)
    assert "/opt/drivebuild/locks/common-archives.txt" in common
    assert f"--find-links /wheels/{BUILT} old-thing==1.0+x" in common


def test_on_one_architecture_there_may_be_a_wheel(templates: dict[str, str]) -> None:
    stages = stages_of(make_plan(catalog_of(intel=f"old-thing==1.0+x{HASH}"), "toy"))
    assert "case $(uname -m) in aarch64) ;; *) exit 0 ;; esac" in render_stage(stages[BUILT], templates)
    env = render_stage(stages["env"], templates)
    assert f"old-thing==1.0+x ; platform_machine == 'x86_64'{HASH}" in env
    assert f"--find-links /wheels/{BUILT} \"old-thing==1.0+x ; platform_machine == 'aarch64'\"" in env


def test_two_versions_are_two_archives() -> None:
    other = OLD.replace("1.0+x", "2.0").replace("c" * 64, "d" * 64)
    stages = stages_of(make_plan(catalog_of(arm=other), "toy"))
    assert {"sdist-old-thing-2.0", "wheel-old-thing-2.0", FETCHED, BUILT} <= set(stages)
    assert stages[BUILT].inputs["machines"] == ("x86_64",)


@pytest.mark.parametrize("architecture", ["aarch64", "x86_64"])
def test_offline_its_file_stands_for_the_stage(architecture: str) -> None:
    catalog = catalog_of(intel=f"old-thing==1.0+x{HASH}")
    needs = plan_needs(catalog, make_plan(catalog, "toy"), architecture)
    (need,) = (item for item in needs if item.stage == FETCHED)
    assert isinstance(need, PackageNeed)
    assert (need.file, need.folder, need.sha256) == ("old_thing-1.0+x.tar.gz", "archive", "c" * 64)
    assert need.architecture == "aarch64", "where it is locked, and asked for"
    assert not [item for item in needs if item.stage == "packages-model" and item.key == need.key]


def test_without_any_there_are_no_such_stages() -> None:
    stages = stages_of(make_plan(catalog_of(arm="", intel=""), "toy"))
    assert not [name for name in stages if name.startswith(("sdist-", "wheel-", "index-file"))]

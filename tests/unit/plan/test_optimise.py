"""The variants beyond lto: what they compile, by what, and how it is proved."""

from __future__ import annotations

import json

import pytest

from builder.errors import PlanError
from builder.plan.make import make_plan
from builder.plan.optimise import compiled, hot
from builder.plan.stage import Plan, StageSpec
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_stage

CPU = "debian-12-cpu"


def planned(catalog: Catalog, platform: str, variant: str, **more: str) -> dict[str, StageSpec]:
    plan = make_plan(catalog, "streampetr", platform=platform, variant=variant, **more)  # type: ignore[arg-type]
    return {stage.name: stage for stage in plan.stages}


@pytest.mark.parametrize("variant", ["stock", "lto"])
def test_up_to_lto_nothing_but_python_is_compiled_otherwise(
    catalog: Catalog, templates: dict[str, str], variant: str
) -> None:
    stages = planned(catalog, CPU, variant)
    assert not compiled(make_plan(catalog, "streampetr", platform=CPU, variant=variant))
    assert {"toolchain", "optimised", "profile"}.isdisjoint(stages)
    text = render_stage(stages["mmcv"], templates)
    assert "FROM beside-torch AS mmcv" in text
    assert "flto" not in text


@pytest.mark.parametrize(
    ("variant", "flags", "level"),
    [
        ("lto-full", "", "lto"),
        ("pgo-instrument", " -fprofile-generate -fprofile-update=atomic", "instrument"),
        ("pgo", " -fprofile-use=/profile/default.profdata", "use"),
    ],
)
def test_a_component_is_compiled_by_the_one_toolchain_and_proved(
    catalog: Catalog, templates: dict[str, str], variant: str, flags: str, level: str
) -> None:
    stages = planned(catalog, CPU, variant)
    text = render_stage(stages["mmcv"], templates)
    assert text.count("FROM toolchain AS mmcv") == 1
    assert f'CFLAGS="${{CFLAGS:-}} -O3 -g0 -flto=thin{flags}"' in text
    assert f"--toolchain /opt/toolchain/toolchain.json --level {level}" in text
    assert text.index("pip wheel") < text.index("optimised.py prove")
    assert ("optimised.py check /profile" in text) == (level == "use")
    assert ("from=profile,target=/profile" in text) == (level == "use") == ("profile" in stages)
    # What has no compiled code, and what nobody named, stays with the system's compiler.
    assert "FROM beside-torch AS mmdet" in render_stage(stages["mmdet"], templates)
    assert stages["env"].inputs["python"] == "python-lto"


def test_the_profile_is_in_the_image_and_in_the_build(catalog: Catalog, templates: dict[str, str]) -> None:
    sha256 = "a" * 64
    stages = planned(catalog, CPU, "pgo", profile=sha256)
    assert stages["image"].inputs["labels"]["drivebuild.profile"] == f"sha256:{sha256}"
    assert json.loads(stages["manifest"].inputs["plan"])["profile"] == f"sha256:{sha256}"
    assert f"--sha256 {sha256}" in render_stage(stages["mmcv"], templates)
    plan = make_plan(catalog, "streampetr", platform=CPU, variant="pgo", profile=sha256)
    assert plan.arguments[-2:] == ("--profile", sha256)
    assert "drivebuild.profile" not in planned(catalog, CPU, "pgo")["image"].inputs["labels"]
    with pytest.raises(PlanError, match="a profile is for the variant pgo, not for lto-full"):
        planned(catalog, CPU, "lto-full", profile=sha256)


def test_gcc_makes_other_profiles(catalog: Catalog) -> None:
    with pytest.raises(PlanError, match="gcc is no clang"):
        planned(catalog, CPU, "pgo", toolchain="gcc")


def test_frameworks_are_compiled_and_everything_is_compiled_against_them(
    catalog: Catalog, templates: dict[str, str]
) -> None:
    stages = planned(catalog, "cann-8.1.rc1", "pgo")
    assert {name for name, stage in stages.items() if stage.inputs.get("optimise", {}).get("level")} == {
        *("pytorch", "torch-npu", "mmcv"),
    }
    assert "from=torch-full,source=/opt/venv" in render_stage(stages["mmcv"], templates)
    assert stages["beside-torch"].base == "torch-full"
    assert {stages[name].base for name in ("mmdet", "driving-sdk")} == {"beside-torch"}
    full = render_stage(stages["torch-full"], templates)
    assert "\ntorch==2.1.0" not in full
    assert "\ntorch-npu==" not in full
    assert "torchvision==0.16.0" in full
    assert "src-torch-cpu" not in full
    assert stages["common"].base == "torch-full"
    pytorch, npu = (render_stage(stages[name], templates) for name in ("pytorch", "torch-npu"))
    assert "PYTORCH_BUILD_VERSION=$version" in pytorch
    assert "version=$version+cpu" in pytorch
    for word in ("_GLIBCXX_USE_CXX11_ABI=0", "USE_XNNPACK=0", "USE_CUDA=0", "OMP_PROC_BIND=false", "ulimit -n 4096"):
        assert f"{word};" in pytorch
    assert "ENABLE_LTO=TRUE BUILD_WITHOUT_SHA=1 PGO_MODE=2" in npu
    assert "cp /profile/default.profdata /build/torch-npu/default.profdata" in npu
    assert stages["image"].inputs["environment"]["OMP_PROC_BIND"] == "false"
    labels = stages["image"].inputs["labels"]
    assert labels["drivebuild.source.pytorch-2.1.0"] == "git:7bcf7da3a268b435777fe87c7794c382f444e86d"
    assert labels["drivebuild.source.torch-npu-7.0.0"] == "git:881a2763aca6b9469a72b3f8706de32ec4973788"
    assert "nobody has run it" in labels["drivebuild.unverified.pytorch"]


@pytest.mark.parametrize(
    ("model", "platform", "version"),
    [
        ("tpvformer", "cann-8.0.0", "2.1.0.post10"),
        ("streampetr", "cann-8.1.rc1", "2.1.0.post12"),
        ("panoocc", "cann-8.2.rc1", "2.1.0.post13"),
    ],
)
def test_torch_npu_is_the_version_of_the_lock(catalog: Catalog, model: str, platform: str, version: str) -> None:
    plan: Plan = make_plan(catalog, model, platform=platform, variant="lto-full")
    stage = next(stage for stage in plan.stages if stage.name == "torch-npu")
    assert stage.inputs["version"] == version


def test_a_profile_of_npus_covers_the_frameworks_and_one_of_cpus_the_operators(catalog: Catalog) -> None:
    npu = hot(make_plan(catalog, "streampetr", variant="pgo"))
    cpu = hot(make_plan(catalog, "streampetr", platform=CPU, variant="pgo"))
    assert "op_plugin|op_api" in npu
    assert "nms_cpu" not in npu
    assert "nms_cpu" in cpu

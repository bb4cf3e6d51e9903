"""debian-12-cpu for two architectures: one environment, and what one of them needs moves nothing of the other's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from builder.plan.common import COMMON, LIBRARIES
from builder.plan.make import make_plan
from builder.plan.needs import PackageNeed, SystemNeed, plan_needs
from builder.plan.stage import Plan, StageSpec
from builder.recipe.types import Architecture, Catalog
from builder.render.cachekeys import Given, cache_keys
from builder.render.dockerfile import render_dockerfile, render_stage
from builder.render.keys import Digester

CPU = "debian-12-cpu"
STUBS = ("cann-8.0.0-stub", "cann-8.1.rc1-stub", "cann-8.2.rc1-stub")
GEOS = "libgeos-c1v5"
ONLY_INTEL = ("nvidia-", "triton")
"""What PyTorch's build for x86_64 asks for, the index having the CUDA one alone."""


def plan_of(catalog: Catalog, model: str = "streampetr", platform: str = CPU) -> Plan:
    return make_plan(catalog, model, platform=platform)


def stages_of(plan: Plan) -> dict[str, StageSpec]:
    return {stage.name: stage for stage in plan.stages}


def line_of(stage: StageSpec, package: str) -> str:
    (line,) = [line for line in stage.inputs["requirements"] if line.startswith(f"{package}==")]
    return str(line)


def without_libraries(catalog: Catalog, platform: str = CPU) -> Catalog:
    bare = replace(catalog.platforms[platform], libraries={})
    return replace(catalog, platforms={**catalog.platforms, platform: bare})


def pins(catalog: Catalog, path: str) -> dict[str, str]:
    lines = (line.split()[0].partition("==") for line in catalog.locks[path].splitlines() if not line.startswith("#"))
    return {name: version for name, _, version in lines}


def hashes(catalog: Catalog, path: str, package: str) -> str:
    (line,) = [line for line in catalog.locks[path].splitlines() if line.startswith(f"{package}==")]
    return line.split()[1]


@pytest.mark.parametrize("platform", [CPU, *STUBS])
def test_both_architectures_have_one_environment(catalog: Catalog, platform: str) -> None:
    arm = [path for path in catalog.locks if path.startswith(f"{platform}/") and path.endswith(".aarch64.txt")]
    assert f"{platform}/framework.aarch64.txt" in arm
    for path in arm:
        other = pins(catalog, path.replace("aarch64", "x86_64")).items()
        assert pins(catalog, path) == {name: version for name, version in other if not name.startswith(ONLY_INTEL)}


def test_each_architecture_takes_the_files_of_its_own_lock(catalog: Catalog) -> None:
    stages = stages_of(plan_of(catalog))
    torch = line_of(stages["torch"], "torch")
    for architecture in ("aarch64", "x86_64"):
        assert hashes(catalog, f"{CPU}/framework.{architecture}.txt", "torch") in torch
    assert "platform_machine" not in torch
    assert "; platform_machine == 'x86_64'" in line_of(stages["torch"], "nvidia-cublas-cu12")


def test_shapely_is_a_wheel_on_one_and_an_archive_on_the_other(catalog: Catalog, templates: dict[str, str]) -> None:
    stages = stages_of(plan_of(catalog))
    common = stages[COMMON]
    assert "; platform_machine == 'x86_64'" in line_of(common, "shapely")
    (archive,) = common.inputs["archives"]
    assert archive.startswith("shapely==1.8.5.post1 ; platform_machine == 'aarch64' ")
    built = render_stage(stages["wheel-shapely-1.8.5.post1"], templates)
    assert "case $(uname -m) in aarch64) ;; *) exit 0 ;; esac" in built
    assert "/archive/Shapely-1.8.5.post1.tar.gz" in built


@pytest.mark.parametrize("platform", [CPU, *STUBS])
def test_the_library_is_for_aarch64_alone(catalog: Catalog, templates: dict[str, str], platform: str) -> None:
    model = next(name for name, item in catalog.models.items() if platform.startswith((item.platform, CPU)))
    stages = stages_of(plan_of(catalog, model, platform))
    text = render_stage(stages[LIBRARIES], templates)
    arm, intel = text.split("FROM torch AS libraries-amd64")
    assert "FROM torch AS libraries-arm64" in arm
    assert f"install \\\n        {GEOS};" in arm
    assert intel.split() == ["FROM", "libraries-${TARGETARCH}", "AS", "libraries"]
    assert [name for name, stage in stages.items() if GEOS in render_stage(stage, templates)] == [LIBRARIES]


def test_a_store_has_the_library_for_aarch64_alone(catalog: Catalog) -> None:
    def packages(architecture: Architecture) -> tuple[str, ...]:
        needs = plan_needs(catalog, plan_of(catalog), architecture)
        (system,) = [need for need in needs if isinstance(need, SystemNeed)]
        return system.packages

    assert set(packages("aarch64")) - set(packages("x86_64")) == {GEOS}
    assert set(packages("x86_64")) <= set(packages("aarch64"))


def test_a_store_has_the_wheel_for_x86_64_alone(catalog: Catalog) -> None:
    # The archive is there for both: the stage that fetches it stands in every build.
    found = {}
    for architecture in ("aarch64", "x86_64"):
        needs = plan_needs(catalog, plan_of(catalog), architecture)
        found[architecture] = {need.key for need in needs if isinstance(need, PackageNeed) and need.name == "shapely"}
    archive, wheel = (
        hashes(catalog, f"{CPU}/streampetr.{architecture}.txt", "shapely").removeprefix("--hash=")
        for architecture in ("aarch64", "x86_64")
    )
    assert found == {"aarch64": {archive}, "x86_64": {archive, wheel}}


def keys(catalog: Catalog, templates: Mapping[str, str], architecture: str) -> dict[str, str]:
    text = render_dockerfile(plan_of(catalog), templates)
    return {key.name: key.key for key in cache_keys(text, Given(architecture=architecture)).values()}


def test_the_library_moves_nothing_of_x86_64(catalog: Catalog, templates: dict[str, str]) -> None:
    bare = without_libraries(catalog)
    intel, plain = keys(catalog, templates, "amd64"), keys(bare, templates, "amd64")
    assert all(intel[name] == plain[name] for name in plain)
    arm, without = keys(catalog, templates, "arm64"), keys(bare, templates, "arm64")
    moved = {name for name in without if arm[name] != without[name]}
    assert {COMMON, "env", "image"} <= moved
    assert not {"base", "build-base", "python-stock", "torch", "beside-torch", "mmcv"} & moved


def test_a_platform_without_any_has_no_such_stage(catalog: Catalog) -> None:
    stages = stages_of(plan_of(without_libraries(catalog)))
    assert LIBRARIES not in stages
    assert stages[COMMON].base == "torch"


def test_it_stands_on_the_framework_that_the_image_has(catalog: Catalog) -> None:
    platform = replace(catalog.platforms["cann-8.1.rc1"], libraries={"aarch64": (GEOS,)})
    changed = replace(catalog, platforms={**catalog.platforms, platform.name: platform})
    stages = stages_of(make_plan(changed, "streampetr", variant="lto-full"))
    assert stages[LIBRARIES].base == "torch-full"


def test_stand_ins_share_the_frameworks_stages_with_the_cpu(catalog: Catalog, templates: dict[str, str]) -> None:
    digester = Digester(templates)
    own = digester.digests(plan_of(catalog))
    stages = stages_of(plan_of(catalog))
    for platform in STUBS:
        model = next(name for name, item in catalog.models.items() if f"{item.platform}-stub" == platform)
        plan = plan_of(catalog, model, platform)
        other = digester.digests(plan)
        shared = {name for name in own if other.get(name) == own[name]}
        assert {"base", "build-base", "python-stock"} <= shared
        # The layer of gigabytes is its first instruction; an adapter follows.
        torch = render_stage(stages_of(plan)["torch"], templates)
        assert torch.startswith(render_stage(stages["torch"], templates).rpartition("ENV PATH=")[0])

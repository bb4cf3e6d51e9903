"""Which compiler a plan compiles what with, and what is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from builder.errors import PlanError
from builder.plan.make import make_plan
from builder.plan.needs import FileNeed, plan_needs
from builder.plan.stage import Plan
from builder.recipe.types import Catalog, Optimised
from builder.render.dockerfile import render_dockerfile

CLANG = "clang-debian-12"


@pytest.fixture
def optimised(catalog: Catalog) -> Catalog:
    """Return the recipes with a platform whose frameworks are compiled by another compiler on each architecture."""
    compilers = {"aarch64": "bisheng-4.1.0", "x86_64": "llvm-openeuler-22.03"}
    platform = catalog.platforms["cann-8.1.rc1"]
    changed = replace(
        platform, variants=("stock", "lto", "lto-full"), optimised=Optimised(toolchain=compilers, components=("mmcv",))
    )
    return replace(catalog, platforms={**catalog.platforms, platform.name: changed})


def cpu(catalog: Catalog, variant: str = "lto", **choice: str) -> Plan:
    return make_plan(catalog, "streampetr", platform="debian-12-cpu", variant=variant, **choice)


def npu(catalog: Catalog, **choice: str) -> Plan:
    return make_plan(catalog, "flashocc", platform="cann-8.1.rc1", variant="lto-full", **choice)


def test_gcc_needs_no_stage_of_its_own(catalog: Catalog) -> None:
    plan = cpu(catalog)
    assert "toolchain" not in plan.names
    assert "build-base" in plan.needs("python-lto")


def test_a_chosen_compiler_is_pythons_and_nobody_elses(catalog: Catalog) -> None:
    plan, usual = cpu(catalog, toolchain=CLANG), cpu(catalog)
    assert plan.needs("python-lto")[0] == "toolchain"
    assert plan.tag == f"drivebuild/streampetr:debian-12-cpu-lto-toolchain.{CLANG}"
    assert plan.arguments[-2:] == ("--toolchain", CLANG)
    # what is compiled against the stock Python is not compiled again
    changed = {stage.name for stage in plan.stages if stage not in usual.stages}
    assert changed == {"toolchain", "python-lto", "manifest", "image"}
    labels = next(stage.inputs["labels"] for stage in plan.stages if stage.name == "image")
    assert labels["drivebuild.toolchain"] == CLANG


def test_the_platforms_own_choice_is_no_choice(catalog: Catalog) -> None:
    assert cpu(catalog, toolchain="gcc") == cpu(catalog)


def test_thin_lto_only_where_configure_knows_it(catalog: Catalog, templates: dict[str, str]) -> None:
    text = render_dockerfile(cpu(catalog, toolchain=CLANG), templates)
    assert "--with-lto=thin " in text
    assert "--ld-path=/opt/toolchain/bin/ld.lld" in text
    plan = make_plan(catalog, "flashocc", platform="cann-8.1.rc1", variant="lto", toolchain="llvm-openeuler-22.03")
    text = render_dockerfile(plan, templates)
    assert "--with-lto \\" in text
    assert "--with-lto=thin" not in text
    assert "CC=/opt/toolchain/bin/clang " in text
    assert "fno-semantic-interposition" in text


def test_another_compiler_on_each_architecture(optimised: Catalog, templates: dict[str, str]) -> None:
    plan = npu(optimised)
    text = render_dockerfile(plan, templates)
    for line in (
        "FROM build-base AS toolchain-arm64",
        "FROM build-base AS toolchain-amd64",
        "FROM toolchain-${TARGETARCH} AS toolchain",
    ):
        assert f"\n{line}\n" in text
    # only the architecture that needs it is asked for the licence
    asked = {
        architecture: [
            need.eula.name
            for need in plan_needs(optimised, plan, architecture, until="toolchain")
            if isinstance(need, FileNeed) and need.eula
        ]
        for architecture in plan.architectures
    }
    assert asked == {"aarch64": ["bisheng"], "x86_64": []}
    assert text.count("ARG ACCEPT_BISHENG_EULA=\n") == 1
    assert "Read https://www.hikunpeng.com/" in text


def test_a_compiler_narrows_the_architectures(optimised: Catalog, templates: dict[str, str]) -> None:
    plan = npu(optimised, toolchain="bisheng-4.1.0")
    assert plan.architectures == ("aarch64",)
    assert "toolchain-${TARGETARCH}" not in render_dockerfile(plan, templates)
    # the framework's stages stay those of both architectures: they are shared
    usual = {stage.name: stage for stage in npu(optimised).stages}
    assert next(stage for stage in plan.stages if stage.name == "torch") == usual["torch"]


@pytest.mark.parametrize(
    ("choice", "message", "hint"),
    [
        ({"toolchain": "clang-debian"}, "there is no toolchain 'clang-debian'", "did you mean 'clang-debian-12'?"),
        (
            {"toolchain": CLANG, "variant": "stock"},
            "the variant stock is compiled with the system's own",
            "--variant lto",
        ),
        (
            {"toolchain": "llvm-openeuler-22.03"},
            "toolchain 'llvm-openeuler-22.03' is for openeuler-22.03; debian-12-cpu is debian-12",
            "for debian-12: clang-debian-12, gcc",
        ),
    ],
)
def test_what_is_refused(choice: dict[str, str], message: str, hint: str, catalog: Catalog) -> None:
    with pytest.raises(PlanError) as caught:
        cpu(catalog, **choice)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_bisheng_on_x86_64(catalog: Catalog, optimised: Catalog) -> None:
    with pytest.raises(PlanError) as caught:
        npu(optimised, toolchain="bisheng-4.1.0", architecture="x86_64")
    assert caught.value.message == "bisheng-4.1.0 exists for aarch64 only"
    assert caught.value.hint == "for x86_64: gcc, llvm-openeuler-22.03"

"""CANN three ways: a stand-in says what it is, shares the laptop's layers, does as its twin; installers want a yes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.dockerfile import parse, reached, stages

from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile, render_stage

STUBS = ("cann-8.0.0-stub", "cann-8.1.rc1-stub", "cann-8.2.rc1-stub")
RUNS = ("cann-8.0.0-run", "cann-8.1.rc1-run", "cann-8.2.rc1-run")
CASES = [
    ("flashocc", "cann-8.1.rc1-stub"),
    ("panoocc", "cann-8.2.rc1-stub"),
    ("pivotnet", "cann-8.1.rc1-stub"),
    ("streampetr", "cann-8.1.rc1-stub"),
    ("tpvformer", "cann-8.0.0-stub"),
]


def stage(plan: Plan, name: str) -> Any:
    return next(item for item in plan.stages if item.name == name)


def steps(plan: Plan) -> dict[str, Any]:
    return {item.name: item.inputs["steps"] for item in plan.stages if item.inputs.get("steps")}


def components(plan: Plan) -> set[str]:
    return {item.name for item in plan.stages if item.template in ("wheel", "tcmalloc")}


def test_the_cases_are_all_models_and_all_stand_ins(catalog: Catalog) -> None:
    assert {model for model, _ in CASES} == set(catalog.models)
    assert {name for name, item in catalog.platforms.items() if item.cann and item.cann.way == "stub"} == set(STUBS)
    assert {platform for _, platform in CASES} == set(STUBS)
    assert {name for name, item in catalog.platforms.items() if item.cann and item.cann.way == "run"} == set(RUNS)


@pytest.mark.parametrize(("model", "platform"), CASES)
def test_a_stand_in_does_what_its_twin_does(catalog: Catalog, model: str, platform: str) -> None:
    stub = make_plan(catalog, model, platform=platform)
    twin = make_plan(catalog, model)
    assert stub.platform.twin == twin.platform.name
    # the same patches, copies and edits, on the same sources; all but those of what CANN's compilers are needed for
    toolkit = {name for name, item in catalog.components.items() if item.cann == "toolkit"}
    left_out = {f"{name}-source" for name in toolkit}
    assert steps(stub) == {name: found for name, found in steps(twin).items() if name not in left_out}
    assert steps(stub)
    assert components(stub) == components(twin) - toolkit
    for name in components(stub):
        one, two = stage(stub, name).inputs, stage(twin, name).inputs
        assert (one["version"], one["source"]) == (two["version"], two["source"])


@pytest.mark.parametrize("platform", STUBS)
def test_a_stand_in_has_its_twins_framework(catalog: Catalog, platform: str) -> None:
    stub = catalog.platforms[platform]
    twin = catalog.platforms[stub.twin]
    wanted = r"^(torch|torchvision|torch_npu|numpy)=="

    def versions(*lists: tuple[str, ...]) -> set[str]:
        return {line for lines in lists for line in lines if re.match(wanted, line)}

    found = versions(stub.framework, stub.adapter)
    assert len(found) == 4
    assert found == versions(twin.framework, twin.adapter)
    assert stub.adapter == twin.adapter
    assert stub.environment == twin.environment
    assert stub.cann is not None
    assert twin.cann is not None
    assert (stub.cann.version, stub.cann.adapter) == (twin.cann.version, twin.cann.adapter)
    # what is really in the lock
    locks = "".join(catalog.locks[f"{platform}/adapter.x86_64.txt"])
    npu = next(line for line in stub.adapter if line.startswith("torch_npu=="))
    assert npu.replace("_", "-") + " " in locks


@pytest.mark.parametrize(("model", "platform"), CASES)
def test_a_stand_in_shares_the_laptops_layers(
    catalog: Catalog, templates: dict[str, str], model: str, platform: str
) -> None:
    """PyTorch, Python and the system are there once for `debian-12-cpu` and all stand-ins: byte-equal text."""
    stub = make_plan(catalog, model, platform=platform, variant="lto")
    laptop = make_plan(catalog, model, platform="debian-12-cpu", variant="lto")
    for name in (
        "os-packages",
        "base",
        "build-base",
        "packages-installer",
        "uv",
        "tools",
        "python-stock",
        "python-lto",
    ):
        assert render_stage(stage(stub, name), templates) == render_stage(stage(laptop, name), templates), name
    one, two = (render_stage(stage(plan, "torch"), templates) for plan in (stub, laptop))
    framework = one.partition("\n# What makes it a framework for NPUs")
    assert framework[1], "the adapter is a layer of its own"
    shared = parse(framework[0])
    assert [item.text for item in shared] == [item.text for item in parse(two)][: len(shared)]
    # behind it the laptop's stage only sets PATH
    assert [item.kind for item in parse(two)][len(shared) :] == ["ENV"]
    assert any("--requirement /opt/drivebuild/locks/framework.txt" in item.text for item in shared)


@pytest.mark.parametrize(("model", "platform"), CASES)
def test_a_stand_ins_image_says_that_it_cannot_run(
    catalog: Catalog, templates: dict[str, str], model: str, platform: str
) -> None:
    plan = make_plan(catalog, model, platform=platform)
    labels = plan.stages[-1].inputs["labels"]
    assert (labels["drivebuild.runnable"], labels["drivebuild.cann.way"]) == ("false", "stub")
    lines = stages(render_dockerfile(plan, templates))["image"].heredoc("/opt/drivebuild/refused")
    assert lines[0] == plan.platform.twin
    # an empty line would refuse everything
    assert all(line.strip() for line in lines)
    for job in plan.model.jobs:
        command = " ".join(job.command)
        scripts = re.findall(r"(?:bash|python) ([^ ]+\.(?:sh|py))", command)
        refused = [line for line in lines[1:] if line in command]
        if job.npus and job.name != "shell":
            assert scripts, f"{job.name}: nothing to recognise it by"
            assert set(scripts) <= set(lines[1:]), job.name
        if not job.npus:
            assert not refused, f"{job.name} wants no NPU"


@pytest.mark.parametrize("model", ["flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer"])
def test_an_image_with_cann_refuses_nothing(catalog: Catalog, templates: dict[str, str], model: str) -> None:
    own = catalog.models[model].platform
    for platform, runnable in ((own, "true"), (f"{own}-run", "true"), ("debian-12-cpu", None)):
        plan = make_plan(catalog, model, platform=platform)
        assert plan.stages[-1].inputs["labels"].get("drivebuild.runnable") == runnable
        found = stages(render_dockerfile(plan, templates))
        assert found["image"].heredoc("/opt/drivebuild/refused") == ()
        assert "cann" not in found, "no stand-in"


@pytest.mark.parametrize("platform", STUBS)
def test_the_stand_in_holds_nothing_of_cann(catalog: Catalog, templates: dict[str, str], platform: str) -> None:
    model = next(model for model, other in CASES if other == platform)
    text = render_dockerfile(make_plan(catalog, model, platform=platform), templates)
    assert "ascend-repo" not in text
    assert "ascend/cann" not in text
    known = stages(text)
    # made without asking a host, and every wheel that links to CANN gets it as a mount
    assert known["cann"].base == "build-base"
    assert not [item for item in known["cann"].instructions if item.kind == "ADD" or "type=secret" in item.text]
    assert "cann" in known["mmcv"].refers
    assert "cann" in known["env"].refers


# --- installers ----------------------------------------------------------------------------------

TEST = '[ "$ACCEPT_CANN_EULA" != yes ]'


@pytest.mark.parametrize("platform", RUNS)
def test_nothing_of_cann_is_fetched_without_a_yes(catalog: Catalog, templates: dict[str, str], platform: str) -> None:
    model = next(name for name, item in catalog.models.items() if f"{item.platform}-run" == platform)
    plan = make_plan(catalog, model, platform=platform)
    known = stages(render_dockerfile(plan, templates))
    cann = catalog.platforms[platform].cann
    assert cann is not None
    installers = {f"src-{name}" for names in cann.installers.values() for name in names}
    assert len(installers) == 4
    fetching = {
        name for name, item in known.items() if "myhuaweicloud" in " ".join(one.text for one in item.instructions)
    }
    assert fetching == installers, "nobody else asks that host"
    for name in installers:
        source = catalog.sources[name.removeprefix("src-")]
        url, referer = source.url, source.referer  # type: ignore[union-attr]
        assert not [item for item in known[name].instructions if item.kind == "ADD"], "ADD asks no question"
        assert [item.text for item in known[name].instructions if item.kind == "ARG"] == ["ACCEPT_CANN_EULA="]
        (run,) = [item for item in known[name].runs if "curl" in item.body and url in item.body]
        assert f"--referer {referer}" in run.body
        assert run.body.startswith(f"if {TEST}; then")
        assert run.body.index("exit 1;") < run.body.index("curl ")
        assert "--proto =https" in run.body
        assert "base" not in reached(known, name), "what is installed cannot be what installs"


@pytest.mark.parametrize("platform", RUNS)
def test_quiet_only_stands_behind_the_yes(catalog: Catalog, templates: dict[str, str], platform: str) -> None:
    model = next(name for name, item in catalog.models.items() if f"{item.platform}-run" == platform)
    known = stages(render_dockerfile(make_plan(catalog, model, platform=platform), templates))
    quiet = [(name, run) for name, item in known.items() for run in item.runs if "--quiet" in run.body]
    assert {name for name, _ in quiet} == {"base"}
    for _, run in quiet:
        assert run.body.index('test "$ACCEPT_CANN_EULA" = yes;') < run.body.index("--quiet")
    arguments = [item.text for item in known["base"].instructions if item.kind == "ARG"]
    assert "ACCEPT_CANN_EULA=" in arguments, "no default says yes"
    assert len(quiet) == 1, "one loop over what is there for the architecture"
    # toolkit before kernels: the shell sorts names
    for architecture in ("amd64", "arm64"):
        copied = [item.text for item in known[f"cann-installers-{architecture}"].instructions if item.kind == "COPY"]
        names = [text.split()[-1] for text in copied]
        assert [re.match(r"/(\d)-Ascend-cann-(toolkit|kernels)", name).groups() for name in names] == [  # type: ignore[union-attr]
            ("1", "toolkit"),
            ("2", "kernels"),
        ]


def test_no_other_platform_knows_the_question(catalog: Catalog, templates: dict[str, str]) -> None:
    for model, recipe in catalog.models.items():
        for platform in (recipe.platform, f"{recipe.platform}-stub", "debian-12-cpu"):
            text = render_dockerfile(make_plan(catalog, model, platform=platform), templates)
            assert "ACCEPT_CANN_EULA" not in text

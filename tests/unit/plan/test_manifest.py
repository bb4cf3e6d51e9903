"""What an image records about itself; published wheels in place of compiled ones; commits of the caller's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.dockerfile import stages

from builder.errors import PlanError
from builder.plan.firstseen import first_seen
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.types import Catalog, GitSource
from builder.render.dockerfile import render_dockerfile, render_stage

COMMIT = "f" * 40
PUBLISHED = {"mx-driving": "wheel"}


def every_plan(catalog: Catalog) -> list[Plan]:
    return [
        make_plan(catalog, name, platform=platform, variant=variant)
        for name, recipe in catalog.models.items()
        for form in ("", "-ubuntu22.04", "-run", "-stub")
        for platform in (f"{recipe.platform}{form}", "debian-12-cpu")
        for variant in ("stock", "lto")
    ]


def manifest(plan: Plan, templates: dict[str, str]) -> dict[str, Any]:
    """Return the planned part as it stands in the Dockerfile."""
    lines = stages(render_dockerfile(plan, templates))["manifest"].heredoc("/plan.json")
    found: dict[str, Any] = json.loads("\n".join(lines))
    return found


def test_it_names_every_source_with_its_pin(catalog: Catalog, templates: dict[str, str]) -> None:
    for plan in every_plan(catalog):
        found = manifest(plan, templates)
        names = {stage.name.removeprefix("src-") for stage in plan.stages if stage.name.startswith("src-")}
        assert set(found["sources"]) == names, plan.tag
        labels = plan.stages[-1].inputs["labels"]
        for name in names:
            source = catalog.sources[name]
            if isinstance(source, GitSource):
                assert found["sources"][name]["commit"] == source.commit
                assert labels[f"drivebuild.source.{name}"] == f"git:{source.commit}"
            else:
                sha256 = source.sha256 or first_seen(catalog, "archive", name)
                assert found["sources"][name]["sha256"] == sha256
                pin = f"sha256:{sha256}" if sha256 else "unpinned"
                assert labels[f"drivebuild.source.{name}"] == pin


def test_it_names_every_component_with_version_and_flags(catalog: Catalog, templates: dict[str, str]) -> None:
    for plan in every_plan(catalog):
        found = manifest(plan, templates)
        built = {stage.name: stage for stage in plan.stages if stage.template in ("wheel", "tcmalloc")}
        assert set(found["components"]) == set(built), plan.tag
        for name, stage in built.items():
            entry = found["components"][name]
            assert entry["version"] == stage.inputs["version"]
            assert entry["source"] in found["sources"]
            assert entry["flags"].items() <= stage.inputs.get("environment", {}).items() or not entry["flags"]
            recipe = catalog.components[name]
            npu = recipe.environment_npu if plan.platform.accelerator == "npu" else {}
            assert entry["flags"] == {**recipe.environment, **npu}


def test_it_says_what_was_chosen(catalog: Catalog, templates: dict[str, str]) -> None:
    for plan in every_plan(catalog):
        found = manifest(plan, templates)
        assert (found["model"], found["platform"], found["variant"]) == (
            plan.model.name,
            plan.platform.name,
            plan.variant,
        )
        assert found["options"] == {option.name: option.default for option in plan.model.options}
        assert found["verified_on_hardware"] is False
        assert found["python"]["version"] == plan.platform.python.version
        assert found["python"]["compiler"] == plan.platform.python.compiler[plan.variant]
        assert set(found["packages"]) == set(plan.architectures)
        for architecture, packages in found["packages"].items():
            # where it is no package of the index, it is a wheel among the sources
            wheels = [name for name in plan.platform.wheels.get(architecture, ()) if name.startswith("torch-cpu-")]
            assert packages.get("torch", "2.1.0") == "2.1.0"
            assert ("torch" in packages) != bool(wheels)
            assert set(wheels) <= set(found["sources"])
            assert ("torch-npu" in packages) == (plan.platform.accelerator == "npu")
        assert (found["cann"] or {}).get("way") == (plan.platform.cann.way if plan.platform.cann else None)
        assert found["overrides"] == {}


def test_every_stage_with_steps_hands_its_record_over(catalog: Catalog, templates: dict[str, str]) -> None:
    for plan in every_plan(catalog):
        known = stages(render_dockerfile(plan, templates))
        with_steps = {stage.name for stage in plan.stages if stage.inputs.get("steps")}
        assert with_steps
        assert known["manifest"].refers == {"build-base", "tools", *with_steps}
        (run,) = known["manifest"].runs
        assert {word.partition("=")[0] for word in run.body.split("--applied ")[1:]} == with_steps
        for name in with_steps:
            recording = [item for item in known[name].runs if "--record /applied" in item.body]
            assert len(recording) == 1, f"{plan.tag}: {name}"
        assert "manifest" in known["image"].refers


def test_words_for_people_do_not_make_another_image(catalog: Catalog, templates: dict[str, str]) -> None:
    found = manifest(make_plan(catalog, "streampetr"), templates)
    assert {key for source in found["sources"].values() for key in source} & {"licence", "note"} == set()


# --- published wheels ----------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["panoocc", "pivotnet", "streampetr", "tpvformer"])
def test_a_published_wheel_replaces_the_compiled_component(
    catalog: Catalog, templates: dict[str, str], model: str
) -> None:
    for form in ("", "-run", "-stub"):
        platform = catalog.models[model].platform + form
        compiled = make_plan(catalog, model, platform=platform)
        published = make_plan(catalog, model, platform=platform, options=PUBLISHED)
        assert ("driving-sdk" in compiled.names) == (form != "-stub"), "no stand-in has CANN's compilers"
        assert not [name for name in published.names if name.startswith("driving-sdk")]
        env = next(stage for stage in published.stages if stage.name == "env").inputs
        lines = [line for line in env["requirements"] if line.startswith("mx-driving==26.1.0.post1 --hash=sha256:")]
        assert lines
        assert "mx-driving" not in {name.replace("_", "-") for name in env["distributions"]}
        entry = manifest(published, templates)["components"]["driving-sdk"]
        assert (entry["version"], entry["source"]) == ("26.1.0.post1", "package index")
        labels, before = (plan.stages[-1].inputs["labels"] for plan in (published, compiled))
        said = catalog.components["driving-sdk"].versions["26.1.0.post1"].unverified
        assert said
        assert labels["drivebuild.unverified.driving-sdk"] == said
        assert labels["drivebuild.verified-on-hardware"] == "no"
        assert not [key for key in before if key.startswith("drivebuild.unverified.")]
        assert "mx-driving==" not in render_dockerfile(compiled, templates)


def test_without_an_npu_the_choice_changes_nothing_that_is_built(catalog: Catalog, templates: dict[str, str]) -> None:
    plain = make_plan(catalog, "streampetr", platform="debian-12-cpu")
    chosen = make_plan(catalog, "streampetr", platform="debian-12-cpu", options=PUBLISHED)
    one, two = ({item.name: render_stage(item, templates) for item in plan.stages} for plan in (plain, chosen))
    assert {name for name in one if one[name] != two.get(name)} == {"manifest", "image"}
    assert "drivebuild.unverified" not in two["image"]


# --- commits of the caller's ---------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["", "cann-8.1.rc1-stub", "debian-12-cpu"])
@pytest.mark.parametrize("source", ["mmcv-1.x", "streampetr"])
def test_a_pinned_commit_changes_its_source_and_what_the_image_says(
    catalog: Catalog, templates: dict[str, str], platform: str, source: str
) -> None:
    plain = make_plan(catalog, "streampetr", platform=platform)
    used = f"src-{source}" in plain.names
    pinned = make_plan(catalog, "streampetr", platform=platform, pinned={source: COMMIT})
    one, two = ({item.name: render_stage(item, templates) for item in plan.stages} for plan in (plain, pinned))
    assert one.keys() == two.keys()
    differ = {name for name in one if one[name] != two[name]}
    if not used:
        assert not differ, "what the plan does not take is no override of it"
        assert pinned.arguments == plain.arguments
        return
    # steps say against which commit they missed, should they miss
    old = catalog.sources[source].commit  # type: ignore[union-attr]
    reporting = {name for name, text in one.items() if f" at {old}" in text}
    assert differ == {"manifest", "image", f"src-{source}"} | reporting
    for name in reporting:
        assert one[name].replace(f" at {old}", "") == two[name].replace(f" at {COMMIT}", "")
    found = manifest(pinned, templates)
    assert found["overrides"] == {f"source {source}": COMMIT}
    labels = pinned.stages[-1].inputs["labels"]
    assert labels[f"drivebuild.override.{source}"] == COMMIT
    assert found["sources"][source]["commit"] == COMMIT
    assert labels[f"drivebuild.source.{source}"] == f"git:{COMMIT}"
    assert f"#{COMMIT}" in two[f"src-{source}"]
    before = plain.stages[-1].inputs["labels"]
    changed = {key for key in labels if labels[key] != before.get(key)}
    assert changed == {f"drivebuild.override.{source}", f"drivebuild.source.{source}"}


def test_a_pin_stands_in_the_commands_of_the_plan(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", pinned={"mmcv-1.x": COMMIT})
    assert plan.arguments[-2:] == ("--pin", f"mmcv-1.x={COMMIT}")
    assert make_plan(catalog, "streampetr").arguments == ("streampetr",)


@pytest.mark.parametrize(
    ("pinned", "message", "hint"),
    [
        ({"mmcv-1.y": COMMIT}, "there is no git source 'mmcv-1.y'", "did you mean 'mmcv-1.x'?"),
        # an archive has no commits
        ({"python-3.8.17": COMMIT}, "there is no git source 'python-3.8.17'", ""),
        ({"mmcv-1.x": "main"}, "mmcv-1.x: 'main' is no full commit", "40 hexadecimal digits"),
        ({"mmcv-1.x": "F" * 40}, f"mmcv-1.x: '{'F' * 40}' is no full commit", "40 hexadecimal digits"),
    ],
)
def test_a_pin_that_is_none(catalog: Catalog, pinned: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(catalog, "streampetr", pinned=pinned)
    assert caught.value.message == message
    assert hint in (caught.value.hint or "")

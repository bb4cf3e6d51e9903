"""The sources of a model are known without any lock, and are those of its plan."""

from __future__ import annotations

import msgspec
import pytest
from support.files import PLATFORM, texts, toy
from support.locks import with_locks

from builder.errors import PlanError
from builder.plan.make import make_plan
from builder.plan.scope import scope_of
from builder.plan.sources import model_sources, used_sources
from builder.recipe.load import load
from builder.recipe.types import Catalog

COPY = "{do: copy, source: sdk, path: a.py, to: b.py%s}"
OPTIONS = "[{name: o, title: O, default: a, choices: {a: {title: A}, b: {title: B}}}]"


@pytest.mark.parametrize("variant", ["stock", "lto"])
def test_they_are_the_source_stages_of_the_plan(catalog: Catalog, variant: str) -> None:
    for name, recipe in catalog.models.items():
        for platform in (recipe.platform, "debian-12-cpu"):
            plan = make_plan(catalog, name, platform=platform, variant=variant)
            stages = {stage.name for stage in plan.stages if stage.name.startswith("src-")}
            scope = scope_of(msgspec.structs.replace(catalog, locks={}), name, platform=platform, variant=variant)
            assert {f"src-{source}" for source in used_sources(scope)} == stages, (name, platform)


def test_the_models_own_platform_is_meant(catalog: Catalog) -> None:
    assert "driving-sdk-7.0.rc1" in model_sources(catalog, "streampetr")
    assert list(model_sources(catalog, "streampetr")) == sorted(model_sources(catalog, "streampetr"))


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, False),
        ({"tree": f"{{source: toy-source, directory: T, steps: [{COPY % ''}]}}"}, True),
        # a step of another accelerator, or of a choice that is not made, fetches nothing
        ({"tree": f"{{source: toy-source, directory: T, steps: [{COPY % ', on: npu'}]}}"}, True),
        ({"tree": f"{{source: toy-source, directory: T, steps: [{COPY % ', on: cpu'}]}}"}, False),
        (
            {"options": OPTIONS, "tree": f"{{source: toy-source, directory: T, steps: [{COPY % ', when: {o: b}'}]}}"},
            False,
        ),
        ({"components": f'[{{name: ops, version: "1.0", steps: [{COPY % ""}]}}]'}, True),
        ({"overlays": f"[{{component: ops, steps: [{COPY % ''}]}}]"}, True),
        ({"overlays": f"[{{component: ops, on: cpu, steps: [{COPY % ''}]}}]"}, False),
    ],
)
def test_only_what_applies_is_fetched(changes: dict[str, str], there: bool) -> None:
    catalog = load(texts(toy(**changes)), {})
    assert ("sdk" in model_sources(catalog, "toy")) == there
    assert ("src-sdk" in make_plan(with_locks(catalog), "toy").names) == there


def test_wheels_of_the_platform_are_sources() -> None:
    files = toy() | {"platforms/plat.yaml": PLATFORM + "wheels: {x86_64: [py]}\n"}
    assert "py" in model_sources(load(texts(files), {}), "toy")


def test_a_model_that_is_not_there(catalog: Catalog) -> None:
    with pytest.raises(PlanError, match="there is no model 'streamptr'"):
        model_sources(catalog, "streamptr")

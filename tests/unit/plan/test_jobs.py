"""What runs in an image: links that do not collide, a table that says all a job needs."""

from __future__ import annotations

import pytest

from builder.plan.jobs import DATA, LINKS, PREPARED, WEIGHTS, job_table, links, torch_home, written
from builder.plan.make import make_plan
from builder.recipe.types import Catalog

MODELS = ("flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer")


@pytest.mark.parametrize("name", MODELS)
def test_no_link_lies_below_another(catalog: Catalog, name: str) -> None:
    paths = [link.path for link in links(catalog.models[name])]
    assert len(set(paths)) == len(paths)
    assert not [(one, two) for one in paths for two in paths if two.startswith(f"{one}/")]


@pytest.mark.parametrize("name", MODELS)
def test_links_lead_to_the_mounts_and_the_run_folder_alone(catalog: Catalog, name: str) -> None:
    model = catalog.models[name]
    targets = {link.path: link.target for link in links(model)}
    assert all(
        target.startswith((f"{DATA}/", f"{PREPARED}/", f"{WEIGHTS}/", f"{LINKS}/outputs/"))
        for target in targets.values()
    )
    for job in model.jobs:
        for path in written(model, job):
            assert targets[path] == f"{LINKS}/outputs/{path}"
    for weight in model.weights:
        folder = ".torch" if weight.home == "torch" else model.tree.directory
        assert targets[f"{folder}/{weight.target}"] == f"{WEIGHTS}/{weight.file}"


def test_generated_files_are_apart_from_the_dataset(catalog: Catalog) -> None:
    targets = {link.path: link.target for link in links(catalog.models["pivotnet"])}
    assert targets["PivotNet/data/nuscenes/maps"] == "/data/nuscenes/maps"
    assert targets["PivotNet/data/nuscenes/customer/pivot-bezier"] == "/data/prepared/customer/pivot-bezier"


def test_torch_home_is_set_only_where_weights_lie_there(catalog: Catalog) -> None:
    assert [name for name in MODELS if torch_home(catalog.models[name])] == ["flashocc"]
    image = make_plan(catalog, "flashocc").stages[-1]
    assert image.inputs["environment"]["TORCH_HOME"] == "/workspace/flashocc/.torch"


@pytest.mark.parametrize("name", MODELS)
def test_the_table_says_what_each_job_needs(catalog: Catalog, name: str) -> None:
    model = catalog.models[name]
    table = job_table(model, catalog.platforms[model.platform], "lto", {o.name: o.default for o in model.options})
    assert (table["model"], table["variant"], table["accelerator"]) == (name, "lto", "npu")
    train = table["jobs"]["train-8p"]
    needed = {entry["path"] for entry in train["data"]}
    assert {f"{DATA}/samples", f"{DATA}/v1.0-trainval"} <= needed
    assert any(path.startswith(PREPARED) for path in needed)
    assert {weight["path"] for weight in train["weights"]} == {
        f"{WEIGHTS}/{w.file}" for w in model.weights if w.required
    }
    assert train["success"]
    assert table["jobs"]["eval"]["checkpoint"]
    assert not table["jobs"]["smoke"]["data"]
    if "prepare-data" in table["jobs"]:
        prepare = table["jobs"]["prepare-data"]
        assert prepare["prepares"]
        assert prepare["outputs"] == []
        # What it makes, it does not need.
        assert not [entry for entry in prepare["data"] if entry["generated"]]
        assert [entry for entry in prepare["generated"] if entry["generated"]]


def test_what_only_the_conversion_reads_is_not_asked_of_a_training(catalog: Catalog) -> None:
    model = catalog.models["panoocc"]
    jobs = job_table(model, catalog.platforms[model.platform], "stock", {"mx-driving": "source"})["jobs"]
    assert f"{DATA}/v1.0-test" not in {entry["path"] for entry in jobs["train-8p"]["data"]}
    assert f"{DATA}/v1.0-test" in {entry["path"] for entry in jobs["prepare-data"]["data"]}


def test_without_npus_there_is_what_wants_none(catalog: Catalog) -> None:
    model = catalog.models["streampetr"]
    table = job_table(model, catalog.platforms["debian-12-cpu"], "stock", {})
    assert list(table["jobs"]) == ["prepare-data", "shell", "smoke"]

"""`why` against records of builds that never were: what changed, what runs and by which chain, whom it reaches."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild, refused
from support.records import BASE, built, image_of

from builder import paths
from builder.engine.command import Choices
from builder.engine.host import Image
from builder.engine.local import LocalSource
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.source.catalog import read_catalog

CPU = "debian-12-cpu"
TAG = f"drivebuild/streampetr:{CPU}-stock"
WHY = ("why", "streampetr", "--platform", CPU)
OTHER = "a" * 40


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return read_catalog()


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Image]:
    """Return what the engine would answer; the tests change it."""
    images = {BASE: image_of(), TAG: image_of("image")}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DRIVEBUILD_RECIPES", raising=False)
    monkeypatch.setattr("builder.cli.why._inspected", lambda names: {n: images[n] for n in names if n in images})
    return images


def plan(catalog: Catalog, model: str = "streampetr", variant: str = "stock", **more: Any) -> Plan:
    return make_plan(catalog, model, platform=CPU, variant=variant, **more)


def why(*words: str, recipes: Path | None = None) -> dict[str, Any]:
    before = ("--recipes", str(recipes)) if recipes else ()
    result = drivebuild(*before, *WHY, *words, "--json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.output)
    return answer


def texts(answer: Mapping[str, Any]) -> list[str]:
    return [change["text"] for change in answer["changes"]]


def runs(answer: Mapping[str, Any]) -> dict[str, list[str]]:
    return {stage["stage"]: stage["chain"] for stage in answer["stages"] if stage["runs"]}


def edited(folder: Path, file: str, edits: Mapping[str, str]) -> Path:
    """Return a folder of recipes with a changed copy of a shipped file."""
    text = (paths.RECIPES / file).read_text()
    for old, new in edits.items():
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    target = folder / "recipes" / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return folder / "recipes"


def test_nothing_changed(shipped: Catalog, templates: dict[str, str]) -> None:
    built(plan(shipped), templates)
    result = drivebuild(*WHY)
    assert result.output == f"{TAG}, built 2026-11-21T09:14:49Z\nnothing changed\n"
    answer = why()
    assert (answer["changed"], answer["changes"], answer["stages"]) == (False, [], [])


def test_a_pin_and_the_chain_to_it(shipped: Catalog, templates: dict[str, str]) -> None:
    seconds = {"src-streampetr": 3.0, "tree": 5.5, "overlay-mmcv": 1.0, "image": 0.6}
    built(plan(shipped), templates, seconds=seconds)
    answer = why("--pin", f"streampetr={OTHER}")
    assert texts(answer) == ["pin of streampetr: 95f6470 → aaaaaaa"]
    chains = runs(answer)
    assert chains["src-streampetr"] == ["src-streampetr"]
    assert chains["tree"] == ["tree", "src-streampetr"]
    assert chains["image"][0] == "image"
    assert chains["image"][-1] == "src-streampetr"
    assert "env" not in chains
    assert "mmcv" not in chains
    assert answer["seconds"] == pytest.approx(3.0 + 5.5 + 1.0 + 0.6)
    # tree, overlay and image stand on each other
    assert answer["longest_chain_seconds"] == pytest.approx(3.0 + 5.5 + 1.0 + 0.6)
    text = drivebuild(*WHY, "--pin", f"streampetr={OTHER}").output
    assert re.search(r"^tree +5\.5 s +← src-streampetr$", text, re.MULTILINE)


def test_what_no_build_took_is_not_guessed(shipped: Catalog, templates: dict[str, str]) -> None:
    # From a record in which everything was cached nothing is known.
    whole = plan(shipped)
    built(whole, templates, cached=frozenset(whole.names))
    answer = why("--pin", f"streampetr={OTHER}")
    assert set(answer["unknown"]) == set(runs(answer))
    assert all(stage["seconds"] is None for stage in answer["stages"])
    assert "and no build here says how long they take" in drivebuild(*WHY, "--pin", f"streampetr={OTHER}").output


def test_a_flag_of_a_component(shipped: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    built(plan(shipped), templates, seconds={"mmcv": 420.0})
    recipes = edited(tmp_path, "components/mmcv.yaml", {'MMCV_WITH_OPS: "1"': 'MMCV_WITH_OPS: "0"'})
    answer = why(recipes=recipes)
    assert texts(answer) == ["flag of mmcv MMCV_WITH_OPS: 1 → 0"]
    chains = runs(answer)
    assert chains["mmcv"] == ["mmcv"]
    assert chains["env"] == ["env", "mmcv"]
    assert "tree" not in chains
    mmcv = next(stage for stage in answer["stages"] if stage["stage"] == "mmcv")
    assert (mmcv["changed"], mmcv["seconds"]) == (["flag of mmcv MMCV_WITH_OPS: 1 → 0"], 420.0)


def test_steps_of_the_recipe(shipped: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    built(plan(shipped), templates)
    edits = {
        "numba==0.53.0, replace: ''": "numba==0.53.0, replace: numba",
        "    - {do: edit, file: StreamPETR/test/train_8p.sh, find: bash testfunc.sh, replace: ':', note: S3}\n": "",
        '  OMP_PROC_BIND: "false"': '  OMP_PROC_BIND: "true"',
    }
    recipes = edited(tmp_path, "models/streampetr.yaml", edits)
    answer = why(recipes=recipes)
    assert "mmdet3d-source: edit of requirements/runtime.txt, replace: nothing → numba" in texts(answer)
    assert "tree: − edit StreamPETR/test/train_8p.sh: bash testfunc.sh → :" in texts(answer)
    assert "environment of image OMP_PROC_BIND: false → true" in texts(answer)
    chains = runs(answer)
    assert chains["mmdet3d"] == ["mmdet3d", "mmdet3d-source"]
    assert {"mmdet3d-source", "env", "tree", "manifest", "image"} <= set(chains)
    assert "mmcv" not in chains


def test_a_note_runs_nothing(shipped: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    built(plan(shipped), templates)
    recipes = edited(tmp_path, "models/streampetr.yaml", {"note: S7}": "note: S8}"})
    answer = why(recipes=recipes)
    assert runs(answer) == {}


def test_a_lock(shipped: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    built(plan(shipped), templates)
    for architecture in ("aarch64", "x86_64"):
        lock = f"locks/{CPU}/streampetr.{architecture}.txt"
        text = (paths.RECIPES / lock).read_text()
        start = text.index("einops==")
        version = text[start:].split("==")[1].split()[0]
        recipes = edited(tmp_path, lock, {f"einops=={version}": "einops==9.9.9"})
    edited(tmp_path, "models/streampetr.yaml", {})
    answer = why(recipes=recipes)
    assert texts(answer) == [f"lock: einops {version} → 9.9.9"] or f"lock: einops: {version} → 9.9.9" in texts(answer)
    assert runs(answer)["env"] == ["env"]
    assert "torch" not in runs(answer)


def test_a_script_of_the_templates(
    shipped: Catalog, templates: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(plan(shipped), templates)
    shutil.copytree(paths.TEMPLATES, tmp_path / "templates")
    monkeypatch.setattr(paths, "TEMPLATES", tmp_path / "templates")
    script = tmp_path / "templates/scripts/job.py"
    script.write_text(script.read_text() + "\nEND = 1\n")
    answer = why()
    assert texts(answer) == ["templates/scripts/job.py, in stage image: +2 −0 lines"]
    assert runs(answer) == {"image": ["image"]}


def test_a_base_made_anew(shipped: Catalog, templates: dict[str, str], engine: dict[str, Image]) -> None:
    built(plan(shipped), templates)
    old, engine[BASE] = engine[BASE], image_of("two")
    answer = why()
    assert texts(answer) == [f"base image {BASE} was made anew: {old.id[7:19]} → {engine[BASE].id[7:19]}"]
    assert runs(answer)["base"] == ["base"]
    assert runs(answer)["mmcv"][-1] == "base"
    assert "tools" not in runs(answer)


def test_local_sources_arguments_and_the_network(shipped: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    (folder / "model_examples/StreamPETR").mkdir(parents=True)
    patch = folder / "model_examples/StreamPETR/mmcv.patch"
    patch.write_text("a\nb\nc\n")
    own = plan(shipped)
    name = "driving-sdk-7.3.0"
    local = LocalSource(f"src-{name}", folder, "my clone")
    built(own, templates, Choices(sources=(local,)))
    assert texts(why("--source", f"{name}={folder}")) == []
    patch.write_text("a\nb\nx\nc\n")
    answer = why("--source", f"{name}={folder}")
    assert texts(answer) == [
        f"files of source {name}: the folder in its place changed",
        f"file model_examples/StreamPETR/mmcv.patch of {name}: +1 −0 lines",
    ]
    assert runs(answer)["overlay-mmcv"] == ["overlay-mmcv", f"src-{name}"]
    answer = why()
    assert texts(answer) == [f"source {name}: what is pinned, in place of my clone"]
    answer = why("--source", f"{name}={folder}", "--offline")
    assert "built with a network, and without one now" in texts(answer)
    assert "torch" in runs(answer)
    built(plan(shipped, variant="lto"), templates, Choices(arguments={"PYTHON_PROFILE_TASK": "-c 1"}))
    answer = why("--lto")
    assert texts(answer) == ["build argument PYTHON_PROFILE_TASK: -c 1 → nothing"]
    assert runs(answer)["python-lto"] == ["python-lto"]


def test_other_images_and_what_they_add(shipped: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    seconds = {"mmcv": 400.0, "env": 40.0, "image": 1.0, "tree": 5.0}
    for model in ("streampetr", "flashocc", "tpvformer"):
        for variant in ("stock", "lto"):
            built(plan(shipped, model, variant), templates, seconds=seconds)
    recipes = edited(tmp_path, "components/mmcv.yaml", {'MMCV_WITH_OPS: "1"': 'MMCV_WITH_OPS: "0"'})
    answer = why(recipes=recipes)
    others = {other["tag"]: [stage["stage"] for stage in other["stages"]] for other in answer["others"]}
    lto = f"drivebuild/streampetr:{CPU}-lto"
    assert lto in others
    assert TAG not in others
    assert {"env", "image"} <= set(others[lto])
    # mmcv is compiled once for all that want the same
    assert answer["others_seconds"] < 400.0 * len(others)
    assert why("--pin", f"streampetr={OTHER}")["others"] == []


def test_what_an_earlier_build_left_in_the_cache(shipped: Catalog, templates: dict[str, str]) -> None:
    built(plan(shipped, pinned={"streampetr": OTHER}), templates, Choices(tag="mine:1"))
    built(plan(shipped), templates)
    answer = why("--pin", f"streampetr={OTHER}")
    assert texts(answer) == ["pin of streampetr: 95f6470 → aaaaaaa"]
    assert runs(answer) == {}
    text = drivebuild(*WHY, "--pin", f"streampetr={OTHER}").output
    assert "reached, but the builder has them from an earlier build:" in text


def test_no_record_and_an_old_one(shipped: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    assert "no record on this machine" in drivebuild(*WHY).output
    assert why() == {"schema": 1, "tag": TAG, "record": None, "compared": False}
    record = built(plan(shipped), templates)
    folder = next((tmp_path / "state").rglob("record.json")).parent
    (folder / "plan.json").unlink()
    assert "of an older drivebuild" in drivebuild(*WHY).output
    (folder / "plan.json").write_text("{")
    assert why()["record"] == record.when


def test_an_image_that_is_gone_and_an_engine_that_is_silent(
    shipped: Catalog, templates: dict[str, str], engine: dict[str, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    built(plan(shipped), templates)
    del engine[TAG]
    assert "the engine no longer has the image" in drivebuild(*WHY).output
    monkeypatch.setattr("builder.cli.why._inspected", lambda names: None)
    result = drivebuild(*WHY)
    assert "the engine does not answer" in result.output
    assert result.output.endswith("nothing changed\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("why", "streampeter"), 4, "'streampetr'"),
        ((*WHY, "--until", "evn"), 2, "'env'"),
        ((*WHY, "--build-arg", "X=1"), 2, "declares no 'X'"),
        ((*WHY, "--build-arg", "X"), 2, "NAME=VALUE"),
        ((*WHY, "--source", "streampeter=/tmp"), 2, "'streampetr'"),
        ((*WHY, "--pin", "streampetr=abc"), 4, "no full commit"),
    ],
)
def test_words_that_cannot_be_meant(words: tuple[str, ...], code: int, said: str) -> None:
    assert said in refused(drivebuild(*words), code)

"""`drivebuild bench` on a real engine: real operators, a real data pipeline with workers, allocators that are seen.

The image is a model's that the quick start or a developer has built. In it a toy stands for the model: its dataset is
built by the image's own mmdet3d from a config.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild, refused
from support.jobs import CPU, recipe, write_recipes
from typer.testing import Result

from builder.dataset.synth import synthesize
from builder.engine.host import Engine

pytestmark = pytest.mark.docker
BUILT = ("debian-12-cpu-lto-env", "debian-12-cpu-stock-env", "debian-12-cpu-stock", "debian-12-cpu-lto")
NAME = "toybench"
TAG = f"drivebuild/{NAME}:{CPU}-stock"
ENTRIES = [{"path": "samples"}, {"path": "train.pkl", "kind": "file", "generated": True, "holds": "train"}]
CONFIG = """\
plugin = True
plugin_dir = "plugin/"
data = dict(
    samples_per_gpu=2,
    train=dict(
        type="ToyPictures",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", img_scale=(400, 240), keep_ratio=False),
            dict(type="RandomFlip", flip_ratio=0.5),
            dict(type="DefaultFormatBundle"),
            dict(type="Collect", keys=["img", "gt_bboxes", "gt_labels"]),
        ],
    ),
)
"""
PLUGIN = """\
import glob

import numpy as np
from mmdet.datasets import DATASETS, CustomDataset


@DATASETS.register_module()
class ToyPictures(CustomDataset):
    CLASSES = ("thing",)

    def __init__(self, pipeline):
        super().__init__(ann_file="", pipeline=pipeline)

    def load_annotations(self, ann_file):
        box = dict(bboxes=np.array([[10, 10, 90, 90]], "float32"), labels=np.array([0]))
        paths = sorted(glob.glob("/data/nuscenes/samples/CAM_FRONT/*.jpg"))
        return [dict(filename=path, width=1600, height=900, ann=box) for path in paths]


import torch_npu
"""


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of recipes with the toy in it."""
    made = write_recipes(tmp_path_factory.mktemp(NAME) / "recipes")
    (made / "models/toyrun.yaml").unlink()
    model = json.loads(recipe().replace("toyrun", NAME))
    model |= {"weights": [], "data": {**model["data"], "entries": ENTRIES}}
    (made / f"models/{NAME}.yaml").write_text(json.dumps(model))
    for lock in made.glob("locks/*/*.txt"):
        lock.rename(lock.with_name(lock.name.replace("toyrun", NAME)))
    return made


@pytest.fixture(scope="module")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the image: one that is there, with a toy for a model and an allocator to be found."""
    base = next((each for each in BUILT if engine.image(f"drivebuild/streampetr:{each}")), None)
    if base is None:
        reason = "NO IMAGE of streampetr on debian-12-cpu: ./quickstart builds one"
        if os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    context = tmp_path_factory.mktemp("bench")
    (context / "jobs.json").write_text(
        json.dumps({"workspace": "/toy", "jobs": {"smoke": {"directory": ".", "command": ["x", "configs/toy.py"]}}})
    )
    (context / "toy.py").write_text(CONFIG)
    (context / "plugin.py").write_text(PLUGIN)
    # Whatever the image calls tcmalloc: that file is mapped which the preload names.
    (context / "Dockerfile").write_text(f"""\
FROM drivebuild/streampetr:{base}
USER 0
COPY jobs.json /opt/drivebuild/jobs.json
COPY toy.py /toy/configs/toy.py
COPY plugin.py /toy/plugin/__init__.py
RUN rm -f /opt/drivebuild/entrypoint /opt/drivebuild/libtcmalloc.so \\
    && cp /lib/*-linux-gnu/libm.so.6 /opt/drivebuild/libtcmalloc.so && echo broken > /opt/drivebuild/libjemalloc.so
USER 1000
""")
    subprocess.run(("docker", "build", "--quiet", "--tag", TAG, str(context)), check=True, capture_output=True)
    yield TAG
    subprocess.run(("docker", "image", "rm", "--force", TAG), check=True, capture_output=True)


@pytest.fixture
def bench(recipes: Path, image: str) -> Callable[..., Result]:
    """Return the command, with the toy's image there."""
    chosen = ("--platform", CPU, "--variants", "stock", "--rounds", "2", "--json")

    def run(*words: str) -> Result:
        assert image == TAG
        return drivebuild("--recipes", str(recipes), "bench", NAME, *chosen, *words)

    return run


def only_suite(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    (suite,) = json.loads(result.stdout)["suites"]
    assert suite["failed"] == suite["absent"] == {}
    return dict(suite)


def test_operators_are_measured_with_the_allocator_that_is_said(bench: Callable[..., Result], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ("--suite", "ops", "--program", "nms", "--program", "layer_norm", "--allocators", "none,tcmalloc")
    suite = only_suite(bench(*words, "--html", str(page)))
    assert set(suite["seconds"]) == {"stock", "stock+tcmalloc"}
    for table in suite["seconds"].values():
        assert set(table) == {"nms", "layer_norm"}
        assert all(0 < seconds < 10 for found in table.values() for seconds in found)
    assert suite["subjects"]["stock"]["image"] == TAG
    assert "torch 2.1.0" in suite["versions"]["stock"]
    assert "stock+tcmalloc" in page.read_text(encoding="utf-8")


def test_an_allocator_that_is_not_mapped_is_an_error(bench: Callable[..., Result]) -> None:
    said = refused(bench("--suite", "ops", "--program", "nms", "--allocators", "none,jemalloc"), 7)
    assert "allocator jemalloc is claimed, and mapped is none" in said


def test_a_models_own_pipeline_is_measured_with_workers(bench: Callable[..., Result], tmp_path: Path) -> None:
    synthesize(tmp_path / "nuscenes", versions=("v1.0-trainval",), scenes=2, samples=3)
    (tmp_path / f"prepared/{NAME}").mkdir(parents=True)
    (tmp_path / f"prepared/{NAME}/train.pkl").touch()
    folders = ("--data", str(tmp_path / "nuscenes"), "--prepared", str(tmp_path / "prepared"))
    twin = ("--also", "twin=/opt/venv/bin/python", "--allocators", "none")
    parts = ("--program", "loader-2", "--rounds", "1")
    suite = only_suite(bench("--suite", "dataloader", *parts, *folders, *twin))
    assert set(suite["seconds"]["twin"]) == {"loader-2"}
    assert suite["data"] == str(tmp_path / "nuscenes")


def test_data_that_is_not_prepared_is_named_with_what_prepares_it(bench: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "nuscenes").mkdir()
    folders = ("--data", str(tmp_path / "nuscenes"), "--prepared", str(tmp_path / "prepared"))
    said = refused(bench("--suite", "dataloader", "--allocators", "none,tcmalloc", *folders), 2)
    assert "train.pkl" in said
    assert f"drivebuild data prepare {NAME}" in said


def test_what_a_profile_is_trained_with_runs_every_operator(image: str) -> None:
    from builder.bench.suite import SUITES

    mount = f"type=bind,source={SUITES['ops'].folder},target=/inside,readonly"
    words = ("docker", "run", "--rm", "--network", "none", "--mount", mount, "--entrypoint", "/opt/venv/bin/python")
    done = subprocess.run(
        (*words, image, "/inside/ops_training.py", "--seconds", "0"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["operators"], said["rounds"], said["failed"]) == (17, 1, {})

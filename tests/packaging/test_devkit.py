"""nuScenes' own devkit, from the package index, reads every table and file that `drivebuild data synth` makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder.dataset.nuscenes import LOCATIONS, PARTS
from builder.dataset.synth import synthesize

DEVKIT = "nuscenes-devkit==1.2.0"
"""Newer than the 1.1.11 of the READMEs, which has no wheels of its dependencies for Python 3.11; it reads the same."""
READER = Path(__file__).with_name("read_nuscenes.py")


def run(*argv: str | Path) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has the devkit; its old dependencies stay out of the tests' own environment."""
    venv = tmp_path_factory.mktemp("devkit") / "venv"
    run(sys.executable, "-m", "uv", "venv", "--python", sys.executable, venv)
    run(sys.executable, "-m", "uv", "pip", "install", "--python", venv, DEVKIT)
    return venv / "bin/python"


def read(python: Path, root: Path, *versions: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(python, READER, root, *versions).splitlines()[-1])
    return found


def test_the_default_loads(python: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "n", scenes=3, samples=3)
    found = read(python, tmp_path / "n", "v1.0-trainval", "v1.0-test")
    trainval, test = found["v1.0-trainval"], found["v1.0-test"]
    assert trainval["splits"] == {"train": 2, "val": 1}
    assert test["splits"] == {"test": 3}
    assert len(trainval["samples"]) == len(test["samples"]) == 9
    assert all(sample["points"] == 640 and sample["echoes"] > 0 for sample in trainval["samples"])
    # Most things are in view of a camera; a test scene has none that are annotated.
    assert all(sample["boxes"] == 11 and sample["seen"] >= 6 for sample in trainval["samples"])
    assert all(sample["boxes"] == 0 for sample in test["samples"])
    assert trainval["labels"] == [640] * 9
    assert 3 < trainval["fastest"] < 8
    assert {"drivable_area", "lane", "road_segment"} <= set(trainval["on"])
    assert trainval["off"] < 0.5
    assert set(found["maps"]) == set(LOCATIONS)
    assert {"meta", *PARTS["can_bus"]} == set(found["messages"])


def test_mini_loads(python: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "n", versions=("v1.0-mini",), scenes=10, samples=2)
    mini = read(python, tmp_path / "n", "v1.0-mini")["v1.0-mini"]
    assert mini["splits"] == {"mini_train": 8, "mini_val": 2}
    assert mini["scenes"] == 10

"""infos.py: pickles of a conversion against the tables, with a stand-in for the devkit's splits and nothing else."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder import paths
from builder.dataset.synth import synthesize
from builder.dataset.synthworld import SCENES

SCRIPT = paths.TEMPLATES / "scripts/infos.py"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of two training scenes and one of validation, three key frames each."""
    root = tmp_path_factory.mktemp("data") / "nuscenes"
    synthesize(root, scenes=3, samples=3)
    return root


def tokens(dataset: Path, split: str) -> list[str]:
    version = "v1.0-test" if split == "test" else "v1.0-trainval"
    names = {row["token"]: row["name"] for row in json.loads((dataset / version / "scene.json").read_text())}
    rows = json.loads((dataset / version / "sample.json").read_text())
    wanted = SCENES[version][1 if split == "val" else 0]
    return [row["token"] for row in rows if names[row["scene_token"]] in wanted]


def judged(dataset: Path, folder: Path, *pairs: str) -> list[dict[str, Any]]:
    package = folder / "packages/nuscenes/utils"
    package.mkdir(parents=True)
    for init in (package / "__init__.py", package.parent / "__init__.py"):
        init.touch()
    splits = {"train": SCENES["v1.0-trainval"][0], "mini_train": SCENES["v1.0-mini"][0]}
    (package / "splits.py").write_text("\n".join(f"{name} = {names!r}" for name, names in splits.items()))
    argv = (sys.executable, "-c", SCRIPT.read_text(), str(dataset), str(folder), *pairs)
    done = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(folder / "packages")}
    )
    return [json.loads(line.removeprefix("infos: ")) for line in done.stdout.splitlines()]


def write(path: Path, names: list[str]) -> None:
    path.write_bytes(pickle.dumps({"infos": [{"token": name} for name in names], "metadata": {}}))


def test_whole_ones(dataset: Path, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write(tmp_path / f"{split}.pkl", tokens(dataset, split))
    rows = judged(dataset, tmp_path, "train=train.pkl", "val=val.pkl", "test=test.pkl")
    assert [(row["infos"], row["wrong"]) for row in rows] == [(6, ""), (3, ""), (9, "")]


def test_broken_ones(dataset: Path, tmp_path: Path) -> None:
    train = tokens(dataset, "train")
    write(tmp_path / "short.pkl", train[:-2])
    write(tmp_path / "twice.pkl", [*train, train[0]])
    write(tmp_path / "other.pkl", [*train[1:], "f" * 32])
    (tmp_path / "cut.pkl").write_bytes((tmp_path / "short.pkl").read_bytes()[:-20])
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    names = ("short", "twice", "other", "cut", "list", "gone")
    said = [row["wrong"] for row in judged(dataset, tmp_path, *(f"train={name}.pkl" for name in names))]
    assert said[0] == "2 of 6 key frames are missing, 0 are of no table"
    assert said[1] == "1 key frames are in it twice"
    assert said[2] == "1 of 6 key frames are missing, 1 are of no table"
    assert all(text.startswith("cannot be read: ") for text in said[3:])

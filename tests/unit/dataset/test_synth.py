"""The synthetic data set: the same bytes for the same seed, complete, refused where it would overwrite."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from builder.dataset.nuscenes import CHANNELS, LOCATIONS, TABLES
from builder.dataset.synth import MARKER, synthesize
from builder.dataset.synthworld import SCENES
from builder.errors import UsageError


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_seed_makes_the_same_bytes_and_another_makes_others(whole: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "same", scenes=2, samples=3)
    synthesize(tmp_path / "other", scenes=2, samples=3, seed=1)
    first, same, other = (digests(root) for root in (whole, tmp_path / "same", tmp_path / "other"))
    assert first == same
    assert first.keys() != other.keys()


def test_every_table_and_every_kind_of_file_is_there(whole: Path) -> None:
    for version in ("v1.0-trainval", "v1.0-test"):
        for table in TABLES:
            assert isinstance(json.loads((whole / version / f"{table}.json").read_text()), list)
    for channel in CHANNELS:
        assert any((whole / "samples" / channel).iterdir())
        assert any((whole / "sweeps" / channel).iterdir())
    assert sorted(path.stem for path in (whole / "maps/expansion").iterdir()) == sorted(LOCATIONS)
    assert json.loads((whole / MARKER).read_text())["seed"] == 0
    assert (whole / "can_bus/scene-0001_pose.json").is_file()
    labels = zipfile.ZipFile(next((whole / "gts/scene-0001").glob("*/labels.npz")))
    assert labels.namelist() == ["semantics.npy", "mask_lidar.npy", "mask_camera.npy"]
    assert labels.testzip() is None


@pytest.mark.parametrize("version", ["v1.0-trainval", "v1.0-mini"])
def test_both_splits_have_a_scene(tmp_path: Path, version: str) -> None:
    synthesize(tmp_path / "n", versions=(version,), scenes=2, samples=2)
    names = {scene["name"] for scene in json.loads((tmp_path / "n" / version / "scene.json").read_text())}
    train, val = SCENES[version]
    assert names & set(train)
    assert names & set(val)
    assert names <= {*train, *val}


def test_many_scenes_are_still_different(tmp_path: Path) -> None:
    made = synthesize(tmp_path / "n", versions=("v1.0-mini",), scenes=10, samples=2)
    scenes = json.loads((tmp_path / "n/v1.0-mini/scene.json").read_text())
    assert len({scene["name"] for scene in scenes}) == 10 == made.scenes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"versions": ("v1.0",)}, "unknown version 'v1.0'"),
        ({"scenes": 0}, "--scenes 0"),
        ({"scenes": 1}, "2 to"),
        ({"scenes": 999}, "--scenes 999"),
        ({"samples": 41}, "--samples 41"),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(tmp_path: Path, arguments: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        synthesize(tmp_path / "n", **arguments)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n/mine").write_text("kept")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for name in ("n", "file", "link"):
        with pytest.raises(UsageError, match="not an empty folder"):
            synthesize(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "n"]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def stop(text: str) -> None:
        if "2 of 2" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "n", scenes=2, samples=2, progress=stop)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    assert synthesize(tmp_path / "n", versions=("v1.0-test",), scenes=1, samples=2).files > 50

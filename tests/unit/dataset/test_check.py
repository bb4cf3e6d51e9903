"""Each kind of damage to a data set, and what a check says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.dataset.check import check_dataset
from builder.dataset.report import Problem, Report
from builder.errors import UsageError
from builder.recipe.types import Catalog

MODELS = ("flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer")
TRAINVAL = "v1.0-trainval"


def first(root: Path, pattern: str) -> Path:
    return min(root.glob(pattern))


def problems(report: Report, severity: str = "error") -> list[Problem]:
    return [problem for problem in report.problems if problem.severity == severity]


def only(report: Report) -> Problem:
    (problem,) = problems(report)
    assert not report.ok
    return problem


def edit(path: Path, change: Callable[[list], object]) -> None:
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows, indent=0))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_one_is_whole_for_every_model(catalog: Catalog, whole: Path, name: str, deep: bool) -> None:
    report = check_dataset(catalog.models[name], whole, deep=deep)
    assert report.ok, report.problems
    assert report.synthetic
    assert report.rows[TRAINVAL]["scene"] == 2
    assert report.files > 100
    assert {problem.what.partition(":")[0] for problem in problems(report, "warning")} == {"is a part of the release"}


def test_what_each_model_needs_differs(catalog: Catalog, copy: Path) -> None:
    for path in copy.glob("sweeps/LIDAR_TOP/*"):
        path.unlink()
    for path in copy.glob("maps/expansion/*"):
        path.unlink()
    for path in copy.glob("can_bus/*_pose.json"):
        path.unlink()
    first(copy, "samples/RADAR_FRONT/*").unlink()
    wrong = {name: {p.group for p in problems(check_dataset(catalog.models[name], copy))} for name in MODELS}
    assert wrong == {
        "flashocc": {"sweeps/LIDAR_TOP"},
        "panoocc": {"sweeps/LIDAR_TOP", "can_bus: pose"},
        "pivotnet": {"maps/expansion"},
        "streampetr": {"sweeps/LIDAR_TOP"},
        "tpvformer": {"sweeps/LIDAR_TOP"},
    }
    radar = problems(check_dataset(catalog.models["flashocc"], copy), "warning")
    assert "samples/RADAR_FRONT" in {problem.group for problem in radar}


def cut(pattern: str, size: int) -> Callable[[Path], None]:
    return lambda root: os.truncate(first(root, pattern), size)


def gone(pattern: str) -> Callable[[Path], None]:
    return lambda root: first(root, pattern).unlink()


def broken_link(root: Path) -> None:
    path = first(root, "samples/CAM_BACK/*")
    path.unlink()
    path.symlink_to("nowhere.jpg")


def a_folder(root: Path) -> None:
    path = first(root, "sweeps/CAM_BACK/*")
    path.unlink()
    path.mkdir()


def more_labels(root: Path) -> None:
    (root / f"lidarseg/{TRAINVAL}/stray.bin").write_bytes(b"1")


def plain_categories(root: Path) -> None:
    edit(root / TRAINVAL / "category.json", lambda rows: [row.pop("index") for row in rows])


def lost_sample(root: Path) -> None:
    edit(root / TRAINVAL / "sample.json", lambda rows: rows.pop(0))


def lost_instance(root: Path) -> None:
    edit(root / TRAINVAL / "instance.json", lambda rows: rows.pop(0))


def lost_pose(root: Path) -> None:
    edit(root / TRAINVAL / "ego_pose.json", lambda rows: rows.pop(5))


def other_column(root: Path) -> None:
    edit(root / TRAINVAL / "scene.json", lambda rows: rows[1].pop("name"))


DAMAGES = {
    "missing file": (gone("samples/CAM_FRONT/*"), "samples/CAM_FRONT", "missing", "blobs"),
    "missing sweep": (gone("sweeps/LIDAR_TOP/*"), "sweeps/LIDAR_TOP", "missing", "blobs"),
    "empty picture": (cut("sweeps/CAM_FRONT/*", 0), "sweeps/CAM_FRONT", "empty", "blobs"),
    "cut lidar": (cut("sweeps/LIDAR_TOP/*", 1001), "sweeps/LIDAR_TOP", "cut off: their size", "blobs"),
    "broken link": (broken_link, "samples/CAM_BACK", "a link to nothing", "blobs"),
    "folder for a file": (a_folder, "sweeps/CAM_BACK", "not a file", "blobs"),
    "missing table": (gone(f"{TRAINVAL}/ego_pose.json"), f"{TRAINVAL}/ego_pose.json", "missing", "Metadata"),
    "cut table": (
        cut(f"{TRAINVAL}/sample_annotation.json", 900),
        f"{TRAINVAL}/sample_annotation.json",
        "cut off",
        "Meta",
    ),
    "empty table": (cut(f"{TRAINVAL}/log.json", 0), f"{TRAINVAL}/log.json", "is empty", "Metadata"),
    "column": (other_column, f"{TRAINVAL}/scene.json", "`name`", "Metadata"),
    "key of a sample": (lost_sample, f"{TRAINVAL}/sample_data.json", "sample.json does not have", "Metadata"),
    "key of an instance": (lost_instance, f"{TRAINVAL}/sample_annotation.json", "instance.json does not", "Metadata"),
    "key of a pose": (lost_pose, f"{TRAINVAL}/sample_data.json", "ego_pose.json does not have", "Metadata"),
    "map": (gone("maps/*.png"), "maps", "missing", "Metadata"),
    "label": (gone(f"lidarseg/{TRAINVAL}/*"), f"lidarseg/{TRAINVAL}", "missing", "lidarseg"),
    "label of another length": (
        cut(f"lidarseg/{TRAINVAL}/*", 10),
        f"lidarseg/{TRAINVAL}",
        "number of points",
        "lidarseg",
    ),
    "label too many": (more_labels, f"lidarseg/{TRAINVAL}", "does not name", ""),
    "table of labels": (gone(f"{TRAINVAL}/lidarseg.json"), f"{TRAINVAL}/lidarseg.json", "missing", "lidarseg"),
    "panoptic label": (cut(f"panoptic/{TRAINVAL}/*", 0), f"panoptic/{TRAINVAL}", "empty", "panoptic"),
    "categories": (plain_categories, f"{TRAINVAL}/category.json", "has no index", "lidarseg"),
    "CAN bus": (gone("can_bus/scene-0001_pose.json"), "can_bus: pose", "missing", "CAN bus"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(catalog: Catalog, copy: Path, name: str) -> None:
    damage, group, what, download = DAMAGES[name]
    damage(copy)
    report = check_dataset(catalog.models["panoocc"], copy)
    found = [problem for problem in problems(report) if problem.group == group and what in problem.what]
    assert found, report.problems
    assert download in found[0].download
    assert not report.ok


DEEP = {
    "picture": (cut("samples/CAM_FRONT/*", 900), "samples/CAM_FRONT", "cut off or no JPEG"),
    "archive": (cut(f"panoptic/{TRAINVAL}/*", 100), f"panoptic/{TRAINVAL}", "cut off or no npz"),
    "mask": (cut("maps/*.png", 60), "maps", "cut off or no PNG"),
    "message": (cut("can_bus/scene-0001_pose.json", 600), "can_bus", "cut off or no JSON"),
}


@pytest.mark.parametrize("name", DEEP)
def test_damage_that_only_a_deep_check_sees(catalog: Catalog, copy: Path, name: str) -> None:
    damage, group, what = DEEP[name]
    damage(copy)
    model = catalog.models["panoocc"]
    assert check_dataset(model, copy).ok
    problem = only(check_dataset(model, copy, deep=True))
    assert (problem.group, problem.what) == (group, what)


def test_occupancy_labels(catalog: Catalog, copy: Path) -> None:
    model = catalog.models["flashocc"]
    os.truncate(first(copy, "gts/scene-0001/*/labels.npz"), 100)
    assert check_dataset(model, copy).ok
    assert only(check_dataset(model, copy, deep=True)).group == "gts"
    first(copy, "gts/scene-0003/*/labels.npz").unlink()
    problem = only(check_dataset(model, copy))
    assert (problem.count, problem.what, problem.download) == (1, "missing", "Occ3D-nuScenes: gts")


def test_a_missing_blob_names_its_scenes(catalog: Catalog, copy: Path) -> None:
    for path in copy.glob("s*/*/*scene-0003*"):
        path.unlink()
    report = check_dataset(catalog.models["streampetr"], copy)
    groups = {problem.group: problem for problem in problems(report)}
    assert len(groups) == 14
    assert all(problem.scenes == ("scene-0003",) for problem in groups.values())
    assert groups["samples/LIDAR_TOP"].count == 3


def test_unread_labels_must_be_whole_once_their_table_is_there(catalog: Catalog, copy: Path) -> None:
    first(copy, f"panoptic/{TRAINVAL}/*").unlink()
    model = catalog.models["streampetr"]
    assert only(check_dataset(model, copy)).group == f"panoptic/{TRAINVAL}"
    (copy / TRAINVAL / "panoptic.json").unlink()
    assert check_dataset(model, copy).ok


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read(catalog: Catalog, copy: Path) -> None:
    first(copy, "samples/CAM_FRONT/*").chmod(0)
    (copy / "sweeps/CAM_BACK").chmod(0)
    groups = {problem.group for problem in problems(check_dataset(catalog.models["panoocc"], copy))}
    (copy / "sweeps/CAM_BACK").chmod(0o755)
    assert groups == {"samples/CAM_FRONT", "sweeps/CAM_BACK"}


NEAR = {
    "wrong case": (lambda root: (root / "samples").rename(root / "Samples"), "has to be named 'samples'"),
    "too deep": (lambda root: nest(root, "samples"), "one level too deep"),
    "too high": (lambda root: (root / "samples").rename(root.parent / "samples"), "one level too high"),
    "in a folder": (lambda root: into(root, "samples", "blobs01"), "one level too deep, in"),
    "dangling": (lambda root: dangle(root, "samples"), "which is not there"),
}


def nest(root: Path, name: str) -> None:
    (root / name).rename(root / "held")
    (root / name).mkdir()
    (root / "held").rename(root / name / name)


def into(root: Path, name: str, folder: str) -> None:
    (root / folder).mkdir()
    (root / name).rename(root / folder / name)


def dangle(root: Path, name: str) -> None:
    (root / name).rename(root / "held")
    (root / name).symlink_to("/nowhere/at/all")


@pytest.mark.parametrize("name", NEAR)
def test_near_misses(catalog: Catalog, copy: Path, name: str) -> None:
    damage, said = NEAR[name]
    damage(copy)
    hints = [problem.hint for problem in problems(check_dataset(catalog.models["tpvformer"], copy))]
    assert any(said in hint for hint in hints), hints


@pytest.mark.parametrize("entry", ["v1.0-trainval", "maps", "lidarseg", "can_bus"])
def test_an_entry_one_level_too_deep(catalog: Catalog, copy: Path, entry: str) -> None:
    nest(copy, entry)
    hints = [problem.hint for problem in problems(check_dataset(catalog.models["panoocc"], copy))]
    assert any("one level too deep" in hint for hint in hints), hints


@pytest.mark.parametrize(
    ("archive", "lost"),
    [
        ("v1.0-trainval_meta.tgz", "v1.0-trainval"),
        ("v1.0-trainval03_blobs.tgz", "samples/CAM_FRONT"),
        ("can_bus.zip", "can_bus"),
        ("nuScenes-lidarseg-all-v1.0.tar.bz2", "lidarseg"),
    ],
)
def test_an_archive_that_was_not_unpacked(catalog: Catalog, copy: Path, archive: str, lost: str) -> None:
    (copy / lost).rename(copy / "held")
    (copy.parent / archive).write_bytes(b"x")
    hints = [problem.hint for problem in problems(check_dataset(catalog.models["panoocc"], copy))]
    assert any(archive in hint and "unpack" in hint for hint in hints), hints


def test_the_wrong_folder_is_named_and_the_right_one_offered(catalog: Catalog, copy: Path) -> None:
    model = catalog.models["tpvformer"]
    for given in (copy.parent, copy.parent.parent, copy / TRAINVAL, copy / "samples", copy / "samples/CAM_FRONT"):
        problem = only(check_dataset(model, given))
        assert "is no nuScenes" in problem.what
        assert str(copy) in problem.hint, given
    with pytest.raises(UsageError, match="no such folder"):
        check_dataset(model, copy / "nothing")


def test_another_version_in_place_of_the_recipes(catalog: Catalog, copy: Path) -> None:
    model = catalog.models["panoocc"]
    assert set(check_dataset(model, copy).rows) == {"v1.0-trainval", "v1.0-test"}
    assert set(check_dataset(model, copy, versions=("v1.0-test",)).rows) == {"v1.0-test"}
    report = check_dataset(model, copy, versions=("v1.0-mini",))
    assert "v1.0-mini" in {problem.group for problem in problems(report)}
    with pytest.raises(UsageError, match="unknown version"):
        check_dataset(model, copy, versions=("mini",))


def test_generated_files_and_weights(catalog: Catalog, whole: Path, tmp_path: Path) -> None:
    model = catalog.models["streampetr"]
    report = check_dataset(model, whole, prepared=tmp_path, weights=tmp_path)
    (note,) = problems(report, "note")
    assert (note.group, note.count) == ("generated files", 3)
    assert "data prepare streampetr" in note.hint
    weight = only(report)
    assert weight.group == "weights"
    assert "https://" in weight.hint
    for entry in model.data.entries:
        if entry.generated:
            (tmp_path / entry.path).write_bytes(b"x")
    (tmp_path / model.weights[0].file).write_bytes(b"x")
    assert check_dataset(model, whole, prepared=tmp_path, weights=tmp_path).ok
    (tmp_path / model.weights[0].file).write_bytes(b"")
    assert only(check_dataset(model, whole, weights=tmp_path)).what == "empty"


def test_files_that_no_conversion_makes_name_their_download(catalog: Catalog, whole: Path) -> None:
    (note,) = problems(check_dataset(catalog.models["tpvformer"], whole), "note")
    assert "https://" in note.hint


def test_links_to_folders_are_followed(catalog: Catalog, copy: Path, tmp_path: Path) -> None:
    (copy / "sweeps").rename(tmp_path / "elsewhere")
    (copy / "sweeps").symlink_to(tmp_path / "elsewhere")
    assert check_dataset(catalog.models["panoocc"], copy).ok

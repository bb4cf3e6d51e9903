"""Records of a manifest: what they say of a file in the end, and where it must lie in the image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str], ModuleType]


def record(tree: str, *files: tuple[str, str]) -> dict[str, object]:
    return {"do": "edit", "tree": tree, "files": [{"path": path, "before": "", "after": blob} for path, blob in files]}


@pytest.fixture
def site(tmp_path: Path) -> str:
    (tmp_path / "mmdet3d").mkdir()
    return str(tmp_path)


def test_the_last_record_of_a_path_wins_whatever_tree_it_names(load: Load) -> None:
    steps = [record("/workspace/m/M", ("a.py", "1"), ("b.py", "2")), record("/workspace/m", ("M/a.py", "3"))]
    found = load("_applied").last_records({"tree": steps})
    assert found == {("tree", "/workspace/m/M/a.py"): "3", ("tree", "/workspace/m/M/b.py"): "2"}


def test_a_folder_that_is_removed_takes_what_was_in_it(load: Load) -> None:
    steps = [record("/w", ("ops/a.py", "1"), ("opsa.py", "2")), record("/w", ("ops", ""))]
    found = load("_applied").last_records({"tree": steps})
    assert found == {("tree", "/w/opsa.py"): "2", ("tree", "/w/ops"): ""}


def test_an_overlay_lies_in_site_packages(load: Load, site: str) -> None:
    applied = {"overlay-mmcv": [record("/build/site", ("mmcv/runner/x.py", "1"))]}
    must, may = load("_applied").expected(applied, site=site, kept={})
    assert must == {f"{site}/mmcv/runner/x.py": ("1", "overlay-mmcv")}
    assert may == {}


def test_a_source_lies_where_its_package_is_installed_and_where_its_tree_is_kept(load: Load, site: str) -> None:
    steps = [record("/build/mmdet3d", ("mmdet3d/a.py", "1"), ("setup.py", "2"), ("configs/c.py", "3"))]
    kept = {"mmdet3d": "/workspace/m/M/mmdetection3d"}
    must, may = load("_applied").expected({"mmdet3d-source": steps}, site=site, kept=kept)
    assert sorted(must) == sorted(
        [
            f"{site}/mmdet3d/a.py",
            *(f"{kept['mmdet3d']}/{name}" for name in ("mmdet3d/a.py", "setup.py", "configs/c.py")),
        ]
    )
    assert f"{site}/mmdet3d/.mim/configs/c.py" in may
    assert f"{site}/setup.py" in may
    assert f"{site}/mmdet3d/a.py" not in may


def test_the_tree_is_changed_after_a_source_that_it_keeps_and_an_overlay_after_both(load: Load, site: str) -> None:
    place = "/workspace/m/M/mmdetection3d"
    applied = {
        "overlay-mmdet3d": [record("/build/site", ("mmdet3d/a.py", "overlay"))],
        "tree": [record("/workspace/m", ("M/mmdetection3d/mmdet3d/a.py", "tree"))],
        "mmdet3d-source": [record("/build/mmdet3d", ("mmdet3d/a.py", "source"))],
    }
    must, _ = load("_applied").expected(applied, site=site, kept={"mmdet3d": place})
    assert must[f"{place}/mmdet3d/a.py"] == ("tree", "tree")
    assert must[f"{site}/mmdet3d/a.py"] == ("overlay", "overlay-mmdet3d")


def test_the_id_of_a_file_is_gits(load: Load, tmp_path: Path) -> None:
    object_id = load("_applied").object_id
    (tmp_path / "file").write_bytes(b"hello\r\n")
    (tmp_path / "link").symlink_to("file")
    assert object_id(str(tmp_path / "file")) == hashlib.sha1(b"blob 7\0hello\r\n").hexdigest()  # noqa: S324
    assert object_id(str(tmp_path / "link")) == hashlib.sha1(b"blob 4\0file").hexdigest()  # noqa: S324
    assert object_id(str(tmp_path / "none")) == ""


@pytest.mark.parametrize(
    ("source", "word"),
    [({"commit": "c" * 40}, "git:" + "c" * 40), ({"sha256": "a" * 64}, "sha256:" + "a" * 64), ({}, "unpinned")],
)
def test_a_source_is_pinned_by_what_its_label_says(load: Load, source: dict[str, str], word: str) -> None:
    assert load("_applied").pin(source) == word


@pytest.mark.parametrize(
    ("applied", "planned", "ok"),
    [({}, [], True), ({}, ["tree"], False), ({"tree": []}, ["tree"], False), ({"overlay-x": ["step"]}, [], False)],
)
def test_the_stages_with_steps_are_those_of_the_plan_which_may_have_none(
    load: Load, capsys: pytest.CaptureFixture[str], applied: dict[str, list[object]], planned: list[str], ok: bool
) -> None:
    applied = {stage: [record("/w", ("a.py", "1")) for _ in steps] for stage, steps in applied.items()}
    load("applied").files({"applied": applied}, {"kept": {}, "changed": planned})
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (line["check"], line["ok"]) == ("manifest has the steps that were applied", ok)

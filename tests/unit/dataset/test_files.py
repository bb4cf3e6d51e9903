"""Files and folders: what their size, mode, beginning and end say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.dataset.files import condition, deep_condition, list_folder, readable
from builder.dataset.nuscenes import DOWNLOADS, PARTS, VERSIONS, download_of
from builder.recipe.types import Catalog


def info(mode: int, *, owner: int, group: int, size: int = 20) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 1, 1, 1, owner, group, size, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "group", "expected"),
    [
        (0o444, 1, 1, True),
        (0o400, 500, 1, True),
        (0o044, 500, 1, False),
        (0o040, 1, 600, True),
        (0o404, 1, 600, False),
        (0o004, 1, 1, True),
        (0o440, 1, 1, False),
        (0o000, 500, 600, False),
    ],
)
def test_who_may_read(monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, group: int, expected: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 500)
    monkeypatch.setattr(os, "getegid", lambda: 600)
    monkeypatch.setattr(os, "getgroups", lambda: [600])
    assert readable(info(mode, owner=owner, group=group)) is expected
    assert condition("x.jpg", info(mode, owner=owner, group=group)) == ("" if expected else "not readable")


def test_root_reads_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert readable(info(0, owner=500, group=500))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert list_folder(tmp_path / "gone").error == "No such file or directory"
    (tmp_path / "file").write_text("x")
    assert list_folder(tmp_path / "file").error == "Not a directory"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jpg", b"\xff\xd8\xff..\xff\xd9", ""),
        ("a.jpg", b"\xff\xd8\xff..\xff\xd9\0\0\0", ""),
        ("a.jpg", b"\xff\xd8\xff..", "cut off or no JPEG"),
        ("a.jpg", b"<html>", "cut off or no JPEG"),
        ("a.npz", b"PK\x03\x04", "cut off or no npz"),
        ("a.pcd", b"# .PCD\nSIZE 4 4\nPOINTS 2\nDATA binary\n" + b"x" * 16, ""),
        ("a.pcd", b"# .PCD\nSIZE 4 4\nPOINTS 2\nDATA binary\n" + b"x" * 15, "no radar points"),
        ("a.pcd", b"# .PCD\nSIZE 4 x\nPOINTS 2\nDATA binary\n", "no radar points"),
        ("a.pcd", b"\0" * 600, "no radar points"),
        ("a.json", b' {"a": 1}\n', ""),
        ("a.json", b'[{"a": 1}', "cut off or no JSON"),
        ("a.bin", b"", ""),
    ],
)
def test_beginnings_and_ends(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert deep_condition(tmp_path / name) == said


def test_a_file_that_went_away_meanwhile(tmp_path: Path) -> None:
    assert deep_condition(tmp_path / "gone.jpg") == "not readable"


def test_every_entry_of_every_recipe_has_a_download(catalog: Catalog) -> None:
    for model in catalog.models.values():
        for entry in model.data.entries:
            if not entry.generated:
                assert download_of(f"{entry.path}/x", "v1.0-trainval") in DOWNLOADS, (model.name, entry.path)
                assert set(entry.parts) <= set(PARTS.get(entry.path, ())), (model.name, entry.path)


def test_published_counts_fit_each_other() -> None:
    for version in VERSIONS.values():
        assert version.rows["calibrated_sensor"] == 12 * version.rows["scene"]
        assert version.rows["ego_pose"] == version.rows["sample_data"]
        assert version.labelled == bool(version.rows["sample_annotation"])

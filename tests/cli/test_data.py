"""`drivebuild data`, as a user calls it: output, exit codes, and that a check leaves no trace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import drivebuild, refused

from builder.dataset.synth import synthesize


@pytest.fixture(autouse=True)
def no_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder with no .env above it that anybody wrote, and without variables of this machine."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/.env").write_text("")
    monkeypatch.chdir(tmp_path / "site")
    for name in ("NUSCENES_ROOT", "PREPARED_ROOT", "WEIGHTS_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set."""
    root = tmp_path_factory.mktemp("data") / "nuscenes"
    synthesize(root, scenes=2, samples=2)
    return root


def states(root: Path) -> Iterator[tuple[str, int, int, int, int]]:
    for folder, _, names in os.walk(root):
        for name in (".", *names):
            path = Path(folder) / name
            info = path.lstat()
            yield str(path), info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_mode


def test_a_check_changes_nothing(whole: Path) -> None:
    before = sorted(states(whole))
    result = drivebuild("data", "check", "panoocc", str(whole), "--deep")
    assert result.exit_code == 0, result.output
    assert "panoocc: all that is needed is there" in result.output
    assert "invented content" in result.output
    assert sorted(states(whole)) == before


def test_a_check_works_on_a_tree_nobody_may_write(whole: Path) -> None:
    folders = [whole, *(path for path in whole.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert drivebuild("data", "check", "streampetr", str(whole)).exit_code == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_json(whole: Path) -> None:
    result = drivebuild("data", "check", "flashocc", str(whole), "--json")
    report = json.loads(result.stdout)
    assert report["schema"] == 1
    assert report["ok"] is True
    assert report["rows"]["v1.0-trainval"]["sample"] == 4
    assert {problem["severity"] for problem in report["problems"]} == {"warning", "note"}


def test_what_is_missing_is_exit_code_7(tmp_path: Path) -> None:
    synthesize(tmp_path / "n", scenes=2, samples=2)
    for path in (tmp_path / "n").glob("samples/CAM_BACK/*scene-0003*"):
        path.unlink()
    said = refused(drivebuild("data", "check", "tpvformer", str(tmp_path / "n")), 7)
    assert "samples/CAM_BACK: 2 missing" in said
    assert "of scene-0003" in said
    assert "download: Full dataset (v1.0), Trainval: file blobs" in said
    assert "not what tpvformer needs; 1 kind of things are wrong" in said
    report = json.loads(drivebuild("data", "check", "tpvformer", str(tmp_path / "n"), "--json").stdout)
    assert report["ok"] is False
    assert report["problems"][0]["count"] == 2


def test_folders_of_the_site(whole: Path, tmp_path: Path) -> None:
    lines = (f"NUSCENES_ROOT={whole}", f"PREPARED_ROOT={tmp_path}/prepared", f"WEIGHTS_ROOT={tmp_path}/weights")
    (tmp_path / "site/.env").write_text("\n".join(lines))
    said = refused(drivebuild("data", "check", "pivotnet"), 7)
    assert "weights: missing" in said
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/upernet_swin_tiny_patch4_window7_512x512.pth").write_bytes(b"x")
    assert drivebuild("data", "check", "pivotnet").exit_code == 0
    (tmp_path / "prepared/pivotnet/customer/pivot-bezier").mkdir(parents=True)
    (tmp_path / "prepared/pivotnet/customer/pivot-bezier/a.npz").write_bytes(b"x")
    assert "generated files" not in drivebuild("data", "check", "pivotnet").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "pivotnet"), "no folder is named"),
        (("check", "pivotnet", "nothing"), "nothing: no such folder"),
        (("check", "pivotnett", "."), "pivotnet"),
        (("check", "pivotnet", ".", "--version", "mini"), "unknown version 'mini'"),
        (("synth", "new", "--scenes", "1"), "--scenes 1"),
        (("synth", "."), "not an empty folder"),
    ],
)
def test_mistakes(words: tuple[str, ...], said: str) -> None:
    result = drivebuild("data", *words)
    assert said in refused(result, result.exit_code)
    assert result.exit_code in (2, 4)


def test_a_name_that_would_steer_the_terminal_is_spelled_out(tmp_path: Path) -> None:
    synthesize(tmp_path / "n", scenes=2, samples=2)
    table = tmp_path / "n/v1.0-trainval/sample_data.json"
    table.write_text(table.read_text().replace("samples/CAM_BACK/n015", "samples/CAM_BACK/\\u001b[2J\\u202en015", 1))
    said = refused(drivebuild("data", "check", "tpvformer", str(tmp_path / "n")), 7)
    assert "\\x1b[2J" in said
    assert "\x1b[2J" not in said
    assert "\u202e" not in said


def test_a_name_that_leads_out_of_the_folder_is_no_file_of_it(tmp_path: Path) -> None:
    synthesize(tmp_path / "n", scenes=2, samples=2)
    table = tmp_path / "n/v1.0-trainval/sample_data.json"
    table.write_text(table.read_text().replace('"samples/CAM_BACK/', '"../../../../etc/', 1))
    assert "../../../../etc" in refused(drivebuild("data", "check", "tpvformer", str(tmp_path / "n")), 7)


def test_synth(tmp_path: Path) -> None:
    result = drivebuild(
        "data", "synth", str(tmp_path / "n"), "--version", "v1.0-mini", "--scenes", "2", "--samples", "2"
    )
    assert result.exit_code == 0, result.output
    assert "2 scenes, 4 key frames" in result.output
    assert drivebuild("data", "check", "tpvformer", str(tmp_path / "n"), "--version", "v1.0-mini").exit_code == 0

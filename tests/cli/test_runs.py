"""`run` and `runs` where no engine is needed: words that cannot be meant, and lists of folders that hold anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild, refused
from support.training import step_line


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, and no engine."""
    for name in ("RUNS_ROOT", "NUSCENES_ROOT", "DRIVEBUILD_UID", "DRIVEBUILD_GID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-socket")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("panocc", "train-8p"), 4, "panoocc"),
        (("panoocc", "train-9p"), 2, "train-8p"),
        (("panoocc", "train-8p", "--platform", "debian-12-cpu"), 2, "it wants NPUs"),
        (("panoocc", "train-8p", "--devices", "0-3"), 2, "takes 8 NPUs, 4 are named"),
        (("panoocc", "train-8p", "--devices", "a"), 2, "expected numbers"),
        (("panoocc", "train-8p", "--devices", "0-7,3"), 2, "named twice"),
        (("panoocc", "smoke", "--devices", "0"), 2, "uses no NPU"),
        (("panoocc", "smoke", "--runtime", "nvidia"), 2, "known: ascend"),
        (("panoocc", "smoke", "--memory", "much"), 2, "such as 64g"),
        (("panoocc", "smoke", "--allocator", "mimalloc"), 2, "tcmalloc"),
        (("panoocc", "smoke", "--env", "A B=c"), 2, "NAME=VALUE"),
        (("panoocc", "smoke", "--env", "NOT_SET_ANYWHERE"), 2, "it is not set here"),
        (("panoocc", "smoke", "--lto", "--variant", "stock"), 2, "contradict"),
        (("panoocc", "smoke"), 6, "docker"),
    ],
)
def test_words_that_cannot_be_meant(words: tuple[str, ...], code: int, said: str, alone: Path) -> None:
    assert said in refused(drivebuild("run", *words), code)
    assert list(alone.iterdir()) == []


def make_run(root: Path, name: str, *, result: Any = None, log: str = "", start: Any = None) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"schema": 1, "model": name.split("/")[0]} if start is None else start))
    if result is not None:
        (folder / "result.json").write_text(result if isinstance(result, str) else json.dumps(result))
    (folder / "job.log").write_text(log)
    return folder


def ended(status: str, **more: Any) -> dict[str, Any]:
    return {"schema": 1, "status": status, "exit_code": 0 if status == "succeeded" else 7, "reason": "because", **more}


@pytest.fixture
def runs(alone: Path) -> Path:
    root = alone / "runs"
    log = f"{step_line('streampetr', 1, 50)}\nmAP: 0.4803\n"
    make_run(root, "streampetr/train-8p/20260101T000000Z", result=ended("succeeded", seconds=93784.0), log=log)
    make_run(root, "streampetr/eval/20260102T000000Z", result=ended("hung"), log="\x1b[2Jhostile\n")
    make_run(root, "panoocc/train-8p/20260103T000000Z", result='{"status": "succ')
    make_run(root, "gone/train-8p/20260104T000000Z")
    (root / "panoocc/train-8p/\x1b]0;owned").mkdir()
    return root


def test_a_list_of_runs(runs: Path) -> None:
    listed = drivebuild("runs", "ls")
    assert listed.exit_code == 0, listed.output
    lines = listed.output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "gone/train-8p/20260104T000000Z",
        "panoocc/train-8p/20260103T000000Z",
        "streampetr/eval/20260102T000000Z",
        "streampetr/train-8p/20260101T000000Z",
    ]
    assert "no result" in lines[1]
    assert "torn result" in lines[2]
    assert "1 d 2 h 3 min" in lines[4]
    assert "mAP 0.4803" in lines[4]
    assert "\x1b" not in listed.output
    only = json.loads(drivebuild("runs", "ls", "streampetr", "-n", "1", "--json").output)["runs"]
    assert [run["status"] for run in only] == ["hung"]


def test_no_runs(alone: Path) -> None:
    assert "no runs below" in drivebuild("runs", "ls").output
    refused(drivebuild("runs", "show"), 2)
    assert list(alone.iterdir()) == []


def test_one_run(runs: Path) -> None:
    shown = drivebuild("runs", "show", "eval/20260102T000000Z")
    assert shown.exit_code == 0, shown.output
    assert "hung" in shown.output
    assert "because" in shown.output
    assert "no run of that name" in refused(drivebuild("runs", "show", "nowhere/20260102T000000Z"), 2)


def test_a_runs_log(runs: Path) -> None:
    # As it is, where no terminal would obey it.
    assert drivebuild("runs", "logs", "20260102T000000Z").output == "\x1b[2Jhostile\n"
    assert drivebuild("runs", "logs", "20260101T000000Z", "-n", "1").output == "mAP: 0.4803\n"
    followed = drivebuild("runs", "logs", "-f", "20260102T000000Z")
    assert followed.exit_code == 7
    assert "left no result" in refused(drivebuild("runs", "logs", "-f", "20260104T000000Z"), 7)


def test_stopping_what_does_not_run(runs: Path) -> None:
    assert "does not run" in refused(drivebuild("runs", "stop", "20260102T000000Z"), 2)

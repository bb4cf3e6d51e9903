"""Run folders: their names, what is written whole, and a reader that trusts nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.engine.rundir import (
    RunFolder,
    RunResult,
    RunStart,
    all_runs,
    is_secret,
    new_folder,
    utc_text,
    write_json,
)
from builder.errors import RunError

NOON = 1764504000.0


def result(status: str = "succeeded", reason: str = "it is") -> RunResult:
    return RunResult(status=status, exit_code=0, reason=reason)  # type: ignore[arg-type]


def test_two_runs_of_one_second_have_two_folders(tmp_path: Path) -> None:
    names = [new_folder(tmp_path, "toy", "train", NOON).path.name for _ in range(3)]
    assert names == ["20251130T120000Z", "20251130T120000Z-2", "20251130T120000Z-3"]
    assert utc_text(NOON) == "2025-11-30T12:00:00Z"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made") as caught:
        new_folder(tmp_path / "file", "toy", "train", NOON)
    assert "RUNS_ROOT" in caught.value.hint


def test_the_jobs_own_result_is_never_replaced(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.result() is None
    assert run.write_result(result("failed", "mine")).reason == "mine"
    assert run.write_result(result("succeeded", "other")).reason == "mine"
    assert run.ended()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"schema": 1}',
        b"[]",
        b"\xff\xfe\x00",
        b'{"status": "succeeded"',
        b'{"status": "wonderful", "exit_code": 0, "reason": ""}',
        b'{"status": "failed", "exit_code": "x", "reason": ""}',
        b"[" * 100_000,
    ],
)
def test_torn_files_are_no_result(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "result.json").write_bytes(text)
    (tmp_path / "run.json").write_bytes(text)
    run = RunFolder(tmp_path)
    assert run.result() is None
    assert run.ended()
    assert run.start() == RunStart()
    assert run.seconds_since_start(NOON) == 0.0


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result.json")
    (tmp_path / "run.json").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "job.log")
    run = RunFolder(tmp_path)
    assert run.result() is None
    assert run.start() == RunStart()
    assert run.tail(100) == b""


def test_the_end_of_a_log_begins_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text("first\nsecond\nthird\n")
    assert RunFolder(tmp_path).tail(10) == b"third\n"
    assert RunFolder(tmp_path).tail(100) == b"first\nsecond\nthird\n"


def test_runs_are_listed_newest_first_and_strangers_passed_over(tmp_path: Path) -> None:
    for name in ("a/train/20260101T000000Z", "b/eval/20260103T000000Z", "a/eval/20260102T000000Z"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/train/\x1b[2J").mkdir()
    (tmp_path / "a/train/.hidden").mkdir()
    (tmp_path / "a/file").write_text("")
    found = [run.name for run in all_runs(tmp_path)]
    assert found == ["b/eval/20260103T000000Z", "a/eval/20260102T000000Z", "a/train/20260101T000000Z"]
    assert list(all_runs(tmp_path / "nowhere")) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(RunError):
        write_json(tmp_path / "result.json", result())
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("name", ["API_TOKEN", "aws_secret_access_key", "DB_PASSWORD", "CREDENTIALS"])
def test_secrets_by_their_names(name: str) -> None:
    assert is_secret(name)
    assert not is_secret("HCCL_CONNECT_TIMEOUT")

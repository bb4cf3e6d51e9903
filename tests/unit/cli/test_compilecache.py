"""`image --compile-cache`: what is refused before anything starts, and what happens around a build."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.engine import stage, toy_plan
from support.runner import RecordingRunner

from builder.cli.compilecache import compiled_before
from builder.engine.build import Choices
from builder.engine.compilecache import Folder, Server, open_folder
from builder.engine.process import Result
from builder.errors import BuildError
from builder.plan.compilers import compiler_inputs
from builder.plan.stage import Plan

IMAGE = ("image", "streampetr", "--platform", "debian-12-cpu")
CACHE = "drivebuild-ccache-sys-gcc"
RESULT = "4/1/d4kr73jo85a5kb0ndbh4la2b71ikmssR"


@pytest.fixture
def plan() -> Plan:
    own = toy_plan().platform.base.image
    return toy_plan(
        stage("base", own), stage("mmcv", "base", **compiler_inputs("sys", "gcc", "gcc", "g++")), stage("image", "mmcv")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "compiles")
    open_folder(made)
    (made.path / CACHE / "4" / "1").mkdir(parents=True)
    (made.path / CACHE / RESULT).write_text("object")
    return made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--compile-cache", "ftp://cache.example"), "there is no ftp://"),
        (("--compile-cache", "http://cache.example", "--offline", "--store", "s"), "--offline allows no step one"),
        (("--compile-cache", "compiles", "--no-cache"), "with --no-cache no step sees"),
        (("--compile-cache", "/dev/null"), "/dev/null: File exists"),
    ],
)
def test_wrong_words_are_refused(words: tuple[str, ...], said: str) -> None:
    assert said in refused(drivebuild(*IMAGE, *words, "--dry-run"), 2)


def test_a_dry_run_and_a_retry_show_no_password() -> None:
    output = drivebuild(*IMAGE, "--compile-cache", "http://me:word@cache.example", "--dry-run").output
    assert "docker buildx build" in output
    assert "word" not in output


def test_a_server_is_a_private_secret_while_the_build_lasts(plan: Plan) -> None:
    server, runner = Server("http://me:word@cache.example"), RecordingRunner()
    with compiled_before(server, [(plan, Choices())], runner=runner, quiet=False) as secrets:
        ((name, path),) = secrets
        assert name == "compile-cache"
        assert path.read_text() == server.url
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    assert runner.asked == []


def test_a_folder_goes_in_before_and_out_after(plan: Plan, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    runner = RecordingRunner()
    with compiled_before(folder, [(plan, Choices())], runner=runner, quiet=False) as secrets:
        assert secrets == ()
        assert len(runner.asked) == 1
        assert f"compiles={folder.path / CACHE}" in runner.asked[0]
    assert len(runner.asked) == 2
    said = capsys.readouterr().out
    assert f"1 files for {CACHE}" in said
    assert f"0 files more of {CACHE}" in said


def test_a_failed_build_keeps_what_it_compiled(plan: Plan, folder: Folder) -> None:
    runner = RecordingRunner()
    with (
        pytest.raises(BuildError, match="stage 'mmcv'"),
        compiled_before(folder, [(plan, Choices())], runner=runner, quiet=True),
    ):
        raise BuildError("stage 'mmcv' failed")
    assert len(runner.asked) == 2


def test_an_interrupt_keeps_nobody_waiting(plan: Plan, folder: Folder) -> None:
    runner = RecordingRunner()
    with pytest.raises(KeyboardInterrupt), compiled_before(folder, [(plan, Choices())], runner=runner, quiet=True):
        raise KeyboardInterrupt
    assert len(runner.asked) == 1


def test_compiles_that_cannot_be_kept_are_a_warning(
    plan: Plan, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = RecordingRunner()
    with compiled_before(folder, [(plan, Choices())], runner=runner, quiet=False):
        runner.answers = {("docker",): Result(1, b"", b"ERROR: no space left on device")}
    said = capsys.readouterr().err
    assert "warning: " in said
    assert "no space left on device" in said
    assert (folder.path / CACHE / RESULT).read_text() == "object"


def test_a_stage_that_compiles_nothing_asks_for_nothing(plan: Plan, folder: Folder) -> None:
    runner = RecordingRunner()
    with compiled_before(folder, [(plan, Choices(until="base"))], runner=runner, quiet=True) as secrets:
        assert secrets == ()
    assert runner.asked == []

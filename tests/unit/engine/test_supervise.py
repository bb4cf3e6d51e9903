"""What is said of a container that ended without a result of its own, and what is cleared away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.engine import supervise
from builder.engine.containers import FOLDER, RUN, Container, GoneError
from builder.engine.rundir import RunFolder, RunResult
from builder.engine.supervise import Signals, Watcher, settle, verdict


def container(**changes: Any) -> Container:
    known: dict[str, Any] = {
        "id": "1",
        "name": "drivebuild-toy-train-1",
        "running": False,
        "ended": True,
        "exit_code": 0,
        "killed_for_memory": False,
        "error": "",
        "labels": {},
        "devices": (),
    }
    return Container(**{**known, **changes})


@pytest.mark.parametrize(
    ("changes", "status", "code", "reason"),
    [
        ({"killed_for_memory": True, "exit_code": 137}, "out-of-memory", 7, "ran out of memory"),
        ({"exit_code": 137}, "failed", 7, "killed from outside"),
        ({"exit_code": 143}, "interrupted", 143, "SIGTERM"),
        ({"exit_code": 130}, "interrupted", 130, "SIGINT"),
        ({"exit_code": 125}, "failed", 7, "refused to start it: toy cannot start: no NPU"),
        ({"exit_code": 128, "error": "no such device"}, "failed", 7, "no such device"),
        ({"exit_code": 0}, "failed", 7, "status 0 and left no result"),
    ],
)
def test_a_container_without_a_result(
    tmp_path: Path, changes: dict[str, Any], status: str, code: int, reason: str
) -> None:
    said = b"drivebuild-job: toy cannot start: no NPU\n"
    found = verdict(container(**changes), RunFolder(tmp_path), gone=False, said=said)
    assert (found.status, found.exit_code) == (status, code)
    assert reason in found.reason
    assert found.evidence == ("drivebuild-job: toy cannot start: no NPU",)


def test_a_container_that_vanished(tmp_path: Path) -> None:
    assert "vanished" in verdict(None, RunFolder(tmp_path), gone=True).reason


def test_the_jobs_own_word_counts(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_result(RunResult(status="hung", exit_code=7, reason="its own"))
    assert verdict(container(exit_code=137), run, gone=False).reason == "its own"
    assert verdict(None, run, gone=True).reason == "its own"


class Engine:
    """Has containers, and remembers which were removed."""

    def __init__(self, *containers: Container, answers: bool = True) -> None:
        self._containers, self._answers = containers, answers
        self.removed: list[str] = []

    def of_runs(self) -> tuple[Container, ...]:
        if not self._answers:
            raise GoneError("no engine")
        return self._containers

    def printed(self, _name: str) -> bytes:
        return b"last words\n"

    def remove(self, name: str) -> None:
        self.removed.append(name)


def test_what_ended_unwatched_is_cleared_away_and_what_runs_is_not(tmp_path: Path) -> None:
    folders = [tmp_path / "toy/train" / name for name in ("1", "2", "3")]
    for folder in folders:
        folder.mkdir(parents=True)
    labels = [{RUN: f"toy/train/{folder.name}", FOLDER: str(folder)} for folder in folders]
    engine = Engine(
        container(name="ended", exit_code=137, labels=labels[0]),
        container(name="running", running=True, ended=False, labels=labels[1]),
        container(name="created", ended=False, labels=labels[2]),
        container(name="homeless", labels={RUN: "x", FOLDER: str(tmp_path / "nowhere")}),
    )
    settle(engine)  # type: ignore[arg-type]
    assert engine.removed == ["ended", "homeless"]
    result = RunFolder(folders[0]).result()
    assert result is not None
    assert result.evidence == ("last words",)
    assert not RunFolder(folders[1]).ended()
    assert not (tmp_path / "nowhere").exists()


def test_without_an_engine_nothing_is_cleared_away() -> None:
    assert settle(Engine(answers=False)) == ()  # type: ignore[arg-type]


def test_signals_are_noted_and_what_the_caller_ignores_stays_ignored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGHUP)
            assert list(signals.take()) == [signal.SIGTERM, signal.SIGINT]
            assert list(signals.take()) == []
            # As under nohup.
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGHUP, hangup)


class Ending:
    """A container whose output ends while the engine is away, and which is found again or gone."""

    def __init__(self, *states: Container | GoneError, said: bytes = b"") -> None:
        self._states, self._said = list(states), said
        self.sent: list[int] = []
        self.removed: list[str] = []

    def output(self, _name: str, *, since: int = 0) -> Iterator[bytes]:
        yield self._said

    def find(self, _name: str) -> Container:
        state = self._states.pop(0)
        if isinstance(state, GoneError):
            raise state
        return state

    def signal(self, _name: str, number: int) -> None:
        self.sent.append(number)

    def remove(self, name: str) -> None:
        self.removed.append(name)


def watch(engine: Ending, folder: Path, *, said: list[str]) -> RunResult:
    watcher = Watcher(engine, "toy", RunFolder(folder), feed=lambda _: None, say=said.append)  # type: ignore[arg-type]
    with Signals() as signals:
        return watcher.watch(signals)


def test_an_engine_that_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise.time, "sleep", lambda _: None)
    away = GoneError("connection refused")
    engine = Ending(away, away, container(running=True, ended=False), container(exit_code=137), said=b"words\n")
    said: list[str] = []
    result = watch(engine, tmp_path, said=said)
    assert said == ["the engine does not answer; waiting for it"]
    assert "the engine was restarted" in result.reason
    assert result.evidence[-1] == "words"
    assert engine.removed == ["toy"]


def test_an_engine_that_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "ENGINE_PATIENCE", -1.0)
    result = watch(Ending(GoneError("connection refused")), tmp_path, said=[])
    assert "vanished" in result.reason


def test_a_container_that_was_removed_is_not_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    assert "vanished" in watch(Ending(GoneError("no such container", missing=True)), tmp_path, said=said).reason
    assert said == []

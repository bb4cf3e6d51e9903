"""The one door to processes, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.jobsite import alive, wait_for

from builder.engine.process import CommandMissingError, SystemRunner
from builder.signals import ends_like_ctrl_c, noted_interrupts


def test_run_returns_all() -> None:
    result = SystemRunner().run(("sh", "-c", "cat; echo $X >&2; exit 3"), stdin=b"in", env={"X": "y"})
    assert (result.code, result.text, result.complaint) == (3, "in", "y")


def test_a_missing_program_is_named() -> None:
    for start in (SystemRunner().run, lambda argv: SystemRunner().stream(argv, lambda _piece: None)):
        with pytest.raises(CommandMissingError, match="drivebuild-no-such"):
            start(("drivebuild-no-such",))
    with pytest.raises(CommandMissingError):
        SystemRunner().pipe(("true",), ("drivebuild-no-such",), lambda _piece: None)


def test_stream_hands_on_pieces_and_ticks() -> None:
    pieces: list[bytes] = []
    command = ("sh", "-c", "cat; echo err >&2; sleep 0.5; echo end; exit 4")
    assert SystemRunner().stream(command, pieces.append, tick=0.1, stdin=b"in\n") == 4
    assert b"".join(pieces) == b"in\nerr\nend\n"
    assert b"" in pieces


def test_pipe_connects_and_tells_both_ends() -> None:
    said: list[bytes] = []
    first, second = SystemRunner().pipe(("sh", "-c", "echo a; echo b >&2; exit 2"), ("cat",), said.append)
    assert (first.code, first.complaint, second.code, second.text) == (2, "b", 0, "a")
    assert b"".join(said) == b"b\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_command_and_its_children(tmp_path: Path, number: signal.Signals) -> None:
    ready, ended = tmp_path / "ready", tmp_path / "ended"
    script = f"trap 'kill $!; echo bye; touch {ended}; exit 1' INT; sleep 71717 & touch {ready}; wait"
    pieces: list[bytes] = []

    def interrupt() -> None:
        while not ready.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        SystemRunner().stream(("bash", "-c", script), pieces.append)
    assert ended.exists()
    assert b"".join(pieces) == b"bye\n"


def test_a_command_that_ignores_interrupts_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.process.PATIENCE", 0.5)
    ready = tmp_path / "ready"

    def feed(piece: bytes) -> None:
        if ready.exists():
            raise KeyboardInterrupt

    ended = tmp_path / "ended"
    script = f"trap '' INT; touch {ready}; sleep 30; sleep 30; touch {ended}"
    with pytest.raises(KeyboardInterrupt):
        SystemRunner().stream(("bash", "-c", script), feed, tick=0.05)
    assert not ended.exists()


@pytest.mark.parametrize("way", ["run", "stream", "pipe"])
def test_an_interrupt_while_a_command_is_started_ends_it(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """It comes when the command runs already, and nobody knows of it yet."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*words, **options))
        os.kill(os.getpid(), signal.SIGTERM)
        return started[-1]

    monkeypatch.setattr("subprocess.Popen", start)
    command, runner = ("sleep", "71717"), SystemRunner()
    ways: dict[str, Callable[[], object]] = {
        "run": lambda: runner.run(command),
        "stream": lambda: runner.stream(command, lambda _piece: None),
        "pipe": lambda: runner.pipe(command, ("cat",), lambda _piece: None),
    }
    with pytest.raises(KeyboardInterrupt):
        ways[way]()
    assert [process.returncode for process in started] == [-signal.SIGINT]


def test_the_last_words_of_a_command_that_ended_at_once_are_read(tmp_path: Path) -> None:
    """All is in the pipe, and who wrote it has gone, when somebody looks after the interrupt."""
    go, pid = tmp_path / "go", tmp_path / "pid"
    script = f"echo $$ > {pid}; echo first; until [ -e {go} ]; do sleep 0.01; done; echo last"
    pieces: list[bytes] = []

    def feed(piece: bytes) -> None:
        pieces.append(piece)
        if piece == b"first\n":
            go.touch()
            wait_for(lambda: not alive(int(pid.read_text())))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SystemRunner().stream(("sh", "-c", script), feed)
    assert b"".join(pieces) == b"first\nlast\n"


@pytest.mark.parametrize("way", ["run", "stream"])
def test_an_event_ends_the_command_of_a_thread_as_ctrl_c_would(tmp_path: Path, way: str) -> None:
    """No signal reaches a thread: what it started ends with its children, in order, and the thread is told."""
    ready, ended, stop = tmp_path / "ready", tmp_path / "ended", threading.Event()
    script = f"trap 'kill $!; touch {ended}; exit 1' INT; sleep 71717 & touch {ready}; wait"
    found: list[type[BaseException]] = []

    def work() -> None:
        runner = SystemRunner(stop)
        try:
            if way == "run":
                runner.run(("bash", "-c", script), stdin=b"x" * 200_000)
            else:
                runner.stream(("bash", "-c", script), lambda _piece: None)
        except KeyboardInterrupt:
            found.append(KeyboardInterrupt)

    thread = threading.Thread(target=work)
    thread.start()
    while not ready.exists():
        time.sleep(0.02)
    stop.set()
    thread.join(60)
    assert found == [KeyboardInterrupt]
    assert ended.exists()


def test_a_runner_with_an_event_returns_as_one_without() -> None:
    runner = SystemRunner(threading.Event())
    result = runner.run(("sh", "-c", "sleep 0.6; cat; exit 3"), stdin=b"in" * 100_000)
    assert (result.code, len(result.stdout)) == (3, 200_000)


def test_what_the_caller_ignores_a_closed_terminal_does_not_end() -> None:
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_like_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
        with noted_interrupts() as noted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not noted.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_first_interrupt_is_noted_and_the_second_is_one() -> None:
    def twice() -> None:
        with noted_interrupts() as noted:
            os.kill(os.getpid(), signal.SIGTERM)
            assert noted.wait(10)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

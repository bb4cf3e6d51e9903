"""What is shown of a job while it runs, where standard output is no terminal; tests/docker has the terminal."""

from __future__ import annotations

import os

import pytest

from builder.cli import jobview
from builder.cli.jobview import PlainJobView, RichJobView
from builder.recipe.types import Catalog
from builder.training.progress import Progress


def test_output_is_passed_on_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    view = PlainJobView()
    view.feed(b"one\ntw")
    view.feed(b"o\n")
    view.say("a sentence\x1b[2J")
    view.close()
    out, err = capfd.readouterr()
    assert out == "one\ntwo\n"
    assert err == "drivebuild: a sentence\\x1b[2J\n"


def test_silence_is_said_once_in_a_while(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(jobview.time, "monotonic", lambda: clock[0])
    view = PlainJobView()
    view.feed(b"step\n")
    for _ in range(400):
        clock[0] += 1.0
        view.feed(b"")
    err = capfd.readouterr().err
    assert err.count("no output for") == 2
    assert "a rank may hang" in err
    view.feed(b"again\n")
    clock[0] += 61.0
    view.feed(b"")
    assert "no output for 1 min 1 s" in capfd.readouterr().err


def test_a_reader_that_is_gone_ends_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    view = PlainJobView()

    def broken(_descriptor: int, _piece: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(jobview.os, "write", broken)
    view.feed(b"x\n")
    view.feed(b"y\n")
    view.close()
    os.close(writer)


def test_a_line_without_end_takes_little_memory(catalog: Catalog) -> None:
    view = RichJobView(Progress(catalog.models["panoocc"]))
    for _ in range(100):
        assert view._lines(b"a" * 100_000) == []
    assert len(view._rest) < 20_000
    (line,) = view._lines(b"b\x1b[2J\xc2\x9b31m\n")
    assert len(line) <= jobview.LINE
    assert view._lines(b"\x1b[2Jx\r\xff\ny\n") == ["?[2Jx", "\ufffd", "y"]

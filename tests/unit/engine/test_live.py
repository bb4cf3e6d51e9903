"""How a build looks while it lasts."""

from __future__ import annotations

import json

import pytest

from builder.cli import live
from builder.engine.progress import Log, Status, Vertex
from builder.engine.state import BuildState, StageView


def running() -> BuildState:
    state = BuildState(["base", "mmcv", "src-a"])
    state.apply(Vertex("b", "[base 1/1] RUN x", started=1.0, completed=2.0, cached=True))
    state.apply(Vertex("m", "[mmcv 2/3] RUN make", started=10.0))
    state.apply(Log("m", "compiling [red]x.cpp\n"))
    state.apply(Vertex("s", "[src-a 1/1] ADD https://example.org/a /", started=10.0))
    state.apply(Status("s", "a", "downloading", current=1_500_000, total=3_000_000))
    return state


def test_plain_lines_once_and_a_heartbeat(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 10.0)
    view, state = live.PlainView(), running()
    view.update(state, 12.0)
    view.update(state, 13.0)
    assert capsys.readouterr().out.splitlines() == [
        "[    2.0 s] base: cached",
        "[    2.0 s] mmcv: running step 1/3, 2.0 s: compiling [red]x.cpp",
        "[    2.0 s] src-a: downloading 1.5 MB of 3.0 MB",
    ]
    view.update(state, 27.5)
    assert "... mmcv: step 1/3, 17.5 s: compiling" in capsys.readouterr().out
    view.close()


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    view = live.JsonView()
    view.update(running(), 12.0)
    view.update(running(), 13.0)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["name"], line["state"]) for line in lines] == [
        ("base", "cached"),
        ("mmcv", "running"),
        ("src-a", "downloading"),
    ]


def test_the_table_shows_log_lines_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 10.0)
    view = live.RichView()
    view.update(running(), 10.1)
    assert capsys.readouterr().out == ""
    view.update(running(), 12.0)
    view.close()
    assert view._place._live is not None
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as captured:
        console.print(view._table(running().views(12.0), 12.0))
    assert "compiling [red]x.cpp" in captured.get()
    assert "1/3 stages" in captured.get()


def test_what_is_busy_is_shown_when_the_terminal_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "7")
    monkeypatch.setenv("COLUMNS", "80")
    views = tuple(StageView(f"s{n}", "running" if n == 9 else "cached") for n in range(10))
    kept = [view.name for view in live._fitting(views)]
    assert len(kept) == 5
    assert kept[-1] == "s9"


@pytest.mark.parametrize(("name", "kind"), [("json", live.JsonView), ("rich", live.RichView), ("", live.PlainView)])
def test_the_view_by_its_name(name: str, kind: type) -> None:
    assert isinstance(live.make_view(name), kind)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000_000_000, "2500.0 GB")]
)
def test_bytes(count: int, text: str) -> None:
    assert live.human_bytes(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (403.2, "6 min 43 s")])
def test_seconds(seconds: float, text: str) -> None:
    assert live.human_seconds(seconds) == text


def test_the_base_says_lines_and_signs_of_life(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    say = live.Say()
    say("")
    say("installing")
    now[0] = 20.0
    say("")
    live.Say(quiet=True)("nothing")
    assert capsys.readouterr().out.splitlines() == ["[    0.0 s] base: installing", "[   20.0 s] base: still at it"]

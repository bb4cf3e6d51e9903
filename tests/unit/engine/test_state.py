"""From events to stages."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from builder.engine.progress import Decoder, Log, Status, Vertex
from builder.engine.state import EXPORT, BuildState

RECORDED = Path(__file__).parent / "recorded"
Outcome = Literal["done", "failed", "cancelled"]


def replayed(name: str, outcome: Outcome, *stages: str) -> BuildState:
    state, decoder = BuildState(stages), Decoder()
    for event in [*decoder.feed((RECORDED / name).read_bytes()), *decoder.finish()]:
        state.apply(event)
    state.finish(outcome)
    return state


def states(state: BuildState) -> dict[str, str]:
    return {view.name: view.state for view in state.views(0)}


def test_a_first_build() -> None:
    state = replayed("success.json", "done", "base", "mmcv", "env", "image")
    assert states(state) == {"base": "done", "mmcv": "done", "env": "done", "image": "done", EXPORT: "done"}
    mmcv = next(view for view in state.views(0) if view.name == "mmcv")
    assert 1 < mmcv.seconds < 2
    assert (mmcv.step, mmcv.steps) == (2, 2)
    assert state.failure is None


def test_the_same_again() -> None:
    state = replayed("cached.json", "done", "base", "mmcv", "env", "image")
    assert states(state) == {"base": "cached", "mmcv": "cached", "env": "cached", "image": "cached", EXPORT: "done"}
    assert all(view.seconds == 0 for view in state.views(0) if view.name != EXPORT)


def test_a_failure_is_told_from_what_it_stopped() -> None:
    state = replayed("failed.json", "failed", "base", "slow", "mmcv", "image")
    assert states(state) == {"base": "cached", "slow": "cancelled", "mmcv": "failed", "image": "waiting"}
    assert state.failure is not None
    assert state.failure.stage == "mmcv"
    assert state.failure.lines[-1] == "compiling file_40.cpp"
    assert "exit code: 3" in state.failure.error


def test_an_interrupted_build_has_no_failure() -> None:
    state = replayed("cancelled.json", "cancelled", "base", "slow", "image")
    assert states(state)["slow"] == "cancelled"
    assert state.failure is None


def test_a_named_context_is_its_stage() -> None:
    assert states(replayed("context.json", "done", "src-foo", "image"))["src-foo"] == "cached"


def test_bytes_of_a_download() -> None:
    state = BuildState(["src-a"])
    state.apply(Vertex("d", "[src-a 1/1] ADD https://example.org/a /", started=1.0))
    state.apply(Status("d", "x", "downloading", current=30, total=100))
    (view,) = state.views(3.0)
    assert (view.state, view.bytes_done, view.bytes_total, view.seconds) == ("downloading", 30, 100, 2.0)


def test_a_running_stage_shows_its_last_line_and_progress_bars_their_last_form() -> None:
    state = BuildState(["mmcv"])
    state.apply(Vertex("d", "[linux/arm64 mmcv 2/3] RUN make", started=1.0))
    (view,) = state.views(2.0)
    assert view.line == "RUN make"
    for piece in ("one\ntw", "o\n10%\r20%\r", "3"):
        state.apply(Log("d", piece))
    (view,) = state.views(2.0)
    assert (view.name, view.state, view.line, view.steps) == ("mmcv", "running", "3", 3)


def test_steps_that_another_build_had_done_before_are_cached() -> None:
    state = BuildState(["base"])
    state.apply(Vertex("i", "[internal] load build definition from Dockerfile", started=100.0, completed=100.1))
    state.apply(Vertex("d", "[base 2/2] RUN apt-get", started=10.0, completed=50.0))
    state.finish("done")
    (view,) = state.views(200.0)
    assert (view.state, view.seconds) == ("cached", 0)


def test_a_step_shared_with_another_build_counts_from_our_start() -> None:
    state = BuildState(["base"])
    state.apply(Vertex("i", "[internal] load build definition from Dockerfile", started=100.0, completed=100.1))
    state.apply(Vertex("d", "[base 2/2] RUN apt-get", started=10.0))
    state.apply(Vertex("d", "[base 2/2] RUN apt-get", started=10.0, completed=130.0))
    (view,) = state.views(200.0)
    assert (view.state, view.seconds) == ("done", 30)


def test_what_another_build_called_a_base_that_both_have_is_no_stage_of_ours() -> None:
    state = BuildState(["env"])
    for number, name in enumerate(("[theirs 1/2] FROM localhost/base", "[context their-base] resolve their-base")):
        state.apply(Vertex(f"d{number}", name, started=1.0))
        assert len(state.views(1.5)) == 2, "it is what this one waits for, too"
        state.apply(Vertex(f"d{number}", name, started=1.0, completed=2.0))
        assert list(states(state)) == ["env"]
    state.apply(Vertex("r", "[theirs 2/2] RUN make", started=2.0, completed=3.0))
    assert [(view.name, view.seconds) for view in state.views(4.0)] == [("env", 0), ("theirs", 1.0)]


@pytest.mark.parametrize("name", ["[internal] load metadata for x", "[auth] x pull token", "resolve image config"])
def test_what_is_no_stage_fails_without_one(name: str) -> None:
    state = BuildState(["base"])
    state.apply(Vertex("d", name, started=1.0, completed=2.0, error="no such image"))
    assert state.failure is not None
    assert (state.failure.stage, state.failure.step) == ("", name)


def test_a_step_whose_cached_result_is_gone_runs_after_all() -> None:
    """A cache at its limit: BuildKit knew the key, missed the bytes, and says both (seen with 26.1)."""
    state = BuildState(("wheel",))
    name, gone = "[wheel 1/1] RUN make", "w5azpbda4r0hru42xgk5z4928: not found"
    state.apply(Vertex("d0", "[internal] load build definition from Dockerfile", started=9.0, completed=9.5))
    state.apply(Vertex("d1", name, started=10.0, completed=10.0, cached=True))
    state.apply(Vertex("d1", name, started=10.0, completed=10.0, cached=True, error=gone))
    assert states(state) == {"wheel": "failed"}
    state.apply(Vertex("d1", name, started=11.0))
    assert states(state) == {"wheel": "running"}
    state.apply(Vertex("d1", name, started=11.0, completed=14.0))
    state.finish("done")
    assert states(state) == {"wheel": "done"}
    assert state.views(20.0)[0].seconds == 3.0
    assert state.failure is None


def test_what_a_failed_try_had_begun_and_the_next_finds_done_is_this_builds_work() -> None:
    state = BuildState(["base", "tools", "image"])
    state.apply(Vertex("b", "[base 1/1] RUN a", cached=True, started=1.0, completed=1.0))
    state.apply(Vertex("t", "[tools 1/1] RUN b", started=1.0))
    state.apply(Vertex("i", "[image 1/1] RUN c", started=1.5, completed=1.6, error="layer does not exist"))
    state.apply(Vertex("t", "[tools 1/1] RUN b", started=1.0, completed=1.7, error="context canceled"))
    state.again()
    for digest, name in (("b", "[base 1/1] RUN a"), ("t", "[tools 1/1] RUN b")):
        state.apply(Vertex(digest, name, cached=True, started=3.0, completed=3.0))
    state.apply(Vertex("i", "[image 1/1] RUN c", started=3.0, completed=4.0))
    state.finish("done")
    assert states(state) == {"base": "cached", "tools": "done", "image": "done"}


def test_a_stage_that_runs_once_more_is_not_what_the_cache_had_of_it() -> None:
    state = BuildState(["tools", "image"])
    state.apply(Vertex("t", "[tools 1/1] RUN b", cached=True, started=1.0, completed=1.0))
    state.again(without="tools")
    state.apply(Vertex("t", "[tools 1/1] RUN b", started=2.0, completed=4.0))
    state.again()
    state.apply(Vertex("t", "[tools 1/1] RUN b", cached=True, started=5.0, completed=5.0))
    state.finish("done")
    assert states(state)["tools"] == "done"
    assert state.views(9.0)[0].seconds == 2.0


def test_what_was_cached_for_a_try_that_failed_may_have_to_run_for_the_next() -> None:
    state = BuildState(["tools"])
    state.apply(Vertex("t", "[tools 1/1] RUN b", cached=True, started=1.0, completed=1.0))
    state.again()
    state.apply(Vertex("t", "[tools 1/1] RUN b", started=2.0))
    state.apply(Vertex("t", "[tools 1/1] RUN b", started=2.0, completed=4.0))
    state.again()
    state.apply(Vertex("t", "[tools 1/1] RUN b", cached=True, started=5.0, completed=5.0))
    assert states(state) == {"tools": "done"}
    assert state.views(9.0)[0].seconds == 2.0

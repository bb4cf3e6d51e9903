"""What stages took: kept when they really ran, asked by digest, and by name where a stage has changed since."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from builder.engine import timings
from builder.engine.folders import state_folder
from builder.engine.progress import Vertex
from builder.engine.record import BuildRecord, StageRecord, all_records, write_record
from builder.engine.state import BuildState
from builder.engine.timings import Timings, note_timings, read_timings

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "drivebuild").mkdir()
    return tmp_path / "drivebuild"


def record(*stages: StageRecord, when: str = "2026-01-01T00:00:00Z", **values: Any) -> BuildRecord:
    facts: dict[str, Any] = {
        "tag": "drivebuild/toy:plat-stock",
        "model": "toy",
        "platform": "plat",
        "variant": "stock",
        "target": "image",
        "outcome": "done",
        "seconds": 9.0,
        "command": (),
        "log": "",
        "architecture": "amd64",
        "digests": {"mmcv": ONE},
    }
    return BuildRecord(when=when, stages=stages, **{**facts, **values})


def ran(name: str, seconds: float, *, partial: bool = False) -> StageRecord:
    return StageRecord(name=name, state="done", seconds=seconds, partial=partial)


def ask(known: Timings, digest: str, *, stage: str = "mmcv", architecture: str = "x86_64") -> float | None:
    return known.seconds(digest, platform="plat", stage=stage, architecture=architecture)


def test_nothing_is_known_at_first() -> None:
    assert ask(read_timings(), ONE) is None


def test_a_stage_is_found_by_its_digest_and_else_by_its_name() -> None:
    note_timings(record(ran("mmcv", 700.0)))
    note_timings(record(ran("mmcv", 900.0), when="2026-02-01T00:00:00Z", digests={"mmcv": TWO}))
    known = read_timings()
    assert ask(known, ONE) == 700.0
    assert ask(known, TWO) == ask(known, "3" * 64) == 900.0, "the newest of that name"
    assert ask(known, "3" * 64, stage="torch") is None


def test_another_architecture_is_another_machine() -> None:
    note_timings(record(ran("mmcv", 700.0)))
    assert ask(read_timings(), ONE, architecture="aarch64") is None


@pytest.mark.parametrize(
    "stage",
    [
        StageRecord(name="mmcv", state="cached", seconds=0.0),
        StageRecord(name="mmcv", state="failed", seconds=5.0),
        ran("mmcv", 5.0, partial=True),
    ],
)
def test_only_what_ran_as_a_whole_counts(stage: StageRecord) -> None:
    note_timings(record(ran("mmcv", 700.0)))
    note_timings(record(stage, when="2026-02-01T00:00:00Z"))
    assert ask(read_timings(), ONE) == 700.0


def test_a_folder_in_a_stages_place_says_nothing_about_the_stage() -> None:
    note_timings(record(ran("src-sdk", 0.1), contexts={"src-sdk": "git"}))
    assert ask(read_timings(), "", stage="src-sdk") is None


def test_write_record_notes_them_and_a_cached_build_forgets_nothing() -> None:
    (state_folder() / "builds/drivebuild_toy_plat-stock").mkdir(parents=True)
    write_record(record(ran("mmcv", 700.0)))
    write_record(record(StageRecord(name="mmcv", state="cached", seconds=0), when="2026-02-01T00:00:00Z"))
    assert ask(read_timings(), ONE) == 700.0
    assert [item.when for item in all_records()] == ["2026-02-01T00:00:00Z"]


def test_records_from_before_count_with_their_longest_time(state: Path) -> None:
    for number, seconds in enumerate((20.0, 700.0, 30.0)):
        folder = state / "builds" / f"t{number}"
        folder.mkdir(parents=True)
        text = (
            '{"tag": "t", "model": "toy", "platform": "plat", "variant": "stock", "target": "image", "outcome": "done",'
            f'"when": "2026-01-0{number + 1}T00:00:00Z", "seconds": 1, "command": [], "log": "",'
            f'"stages": [{{"name": "mmcv", "state": "done", "seconds": {seconds}}}]}}'
        )
        (folder / "record.json").write_text(text)
    assert ask(read_timings(), ONE) == 700.0
    note_timings(record(ran("torch", 5.0), when="2026-02-01T00:00:00Z", digests={}))
    known = read_timings()
    assert ask(known, ONE) == 700.0, "they are taken over when the first new one is kept"
    assert ask(known, "", stage="torch") == 5.0


def test_builds_that_end_at_once_lose_nothing_of_each_other() -> None:
    def end(number: int) -> None:
        note_timings(record(ran("mmcv", float(number)), digests={"mmcv": f"{number:064x}"}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(end, range(40)))
    assert sorted(read_timings().by_digest.values()) == [float(number) for number in range(40)]


def test_a_damaged_file_is_made_anew(state: Path) -> None:
    note_timings(record(ran("mmcv", 700.0)))
    (state / "timings.json").write_text('{"timings": [')
    assert ask(read_timings(), ONE) is None
    note_timings(record(ran("mmcv", 800.0)))
    assert ask(read_timings(), ONE) == 800.0


def test_only_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "KEPT", 2)
    for number in range(1, 5):
        digests = {"mmcv": str(number) * 64}
        note_timings(record(ran("mmcv", float(number)), when=f"2026-01-0{number}T00:00:00Z", digests=digests))
    assert sorted(read_timings().by_digest.values()) == [3.0, 4.0]


def test_a_folder_that_cannot_be_written_fails_no_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    note_timings(record(ran("mmcv", 700.0)))
    assert ask(read_timings(), ONE) is None


# --- which stages ran as a whole -------------------------------------------------------------------


def step(number: int, what: str, *, cached: bool = False) -> Vertex:
    name = f"[mmcv {number}/3] {what}"
    return Vertex(digest=f"d{number}", name=name, started=100.0, completed=100.0 if cached else 110.0, cached=cached)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((step(1, "FROM x", cached=True), step(2, "RUN a"), step(3, "RUN b")), False),
        ((step(1, "FROM x", cached=True), step(2, "RUN a", cached=True), step(3, "RUN b")), True),
        ((step(1, "FROM x"), step(2, "COPY a b", cached=True), step(3, "RUN b")), False),
        ((step(1, "FROM x", cached=True), step(2, "RUN a", cached=True), step(3, "RUN b", cached=True)), False),
    ],
)
def test_a_stage_is_partial_when_work_of_it_was_cached(steps: tuple[Vertex, ...], expected: bool) -> None:
    state = BuildState(["mmcv"])
    for vertex in steps:
        state.apply(vertex)
    state.finish("done")
    assert state.views(120.0)[0].partial is expected

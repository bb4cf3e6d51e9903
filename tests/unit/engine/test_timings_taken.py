"""Timings of other machines, as artifacts of a CI service bring them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from builder.engine.timings import KEPT, Timing, read_timings, take_timings

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/drivebuild"


def timing(seconds: float, *, digest: str = ONE, day: int = 1, architecture: str = "x86_64") -> Timing:
    when = f"2026-01-{day:02}T00:00:00Z"
    return Timing(stage="mmcv", platform="plat", architecture=architecture, seconds=seconds, when=when, digest=digest)


def artifact(folder: Path, name: str, *timings: Timing) -> None:
    path = folder / name / "drivebuild/timings.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode({"timings": timings}))


def asked(digest: str, architecture: str = "x86_64") -> float | None:
    return read_timings().seconds(digest, platform="elsewhere", stage="mmcv", architecture=architecture)


def test_the_newest_of_all_machines_counts_whichever_file_it_is_in(tmp_path: Path) -> None:
    artifact(tmp_path / "past", "records-b", timing(20, day=2), timing(5, digest=TWO))
    artifact(tmp_path / "past", "records-a", timing(30, day=3), timing(7, architecture="aarch64"))
    artifact(tmp_path / "past", "records-c", timing(10, day=1))
    assert take_timings(tmp_path / "past") == 5
    assert (asked(ONE), asked(TWO), asked(ONE, "aarch64")) == (30, 5, 7)
    # What this machine knows better by now stays.
    artifact(tmp_path / "older", "records-a", timing(99, day=1))
    take_timings(tmp_path / "older")
    assert asked(ONE) == 30


def test_what_cannot_be_read_is_left_out(tmp_path: Path, state: Path) -> None:
    artifact(tmp_path / "past", "good", timing(20))
    for name, text in (("broken", b"{"), ("strange", b'{"timings": [{"stage": 1}]}')):
        artifact(tmp_path / "past", name)
        (tmp_path / f"past/{name}/drivebuild/timings.json").write_bytes(text)
    assert take_timings(tmp_path / "past") == 1
    assert asked(ONE) == 20
    assert take_timings(tmp_path / "nowhere") == 0


def test_there_is_an_end_to_them(tmp_path: Path) -> None:
    artifact(tmp_path / "past", "many", *(timing(1, digest=f"{number:064x}") for number in range(KEPT + 9)))
    take_timings(tmp_path / "past")
    assert len(read_timings().by_digest) == KEPT

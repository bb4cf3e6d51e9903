"""Sums over many builds, the summary, and the page."""

from __future__ import annotations

import json
import re

import pytest

from builder.fleet.bars import rows_of
from builder.fleet.page import render_page
from builder.fleet.report import make_report, summary, to_data
from builder.fleet.runs import Failed, ImageRun, Interval, Outcome, StageRun, merged

WHEEL, ENV_A, ENV_B = "w" * 64, "a" * 64, "b" * 64
HOSTILE = "</script><script>alert(1)</script>\x1b[2J\u202e"


def ran(name: str, digest: str, *spans: Interval, state: str = "done") -> StageRun:
    return StageRun(name=name, state=state, digest=digest, spans=spans)


def cached(name: str, digest: str) -> StageRun:
    return StageRun(name=name, state="cached", digest=digest)


def image(name: str, *stages: StageRun, state: str = "done", failed: Failed | None = None) -> ImageRun:
    return ImageRun(
        name=name,
        tag=f"drivebuild/{name}",
        platform="plat",
        state=state,  # type: ignore[arg-type]
        began=100.0,
        ended=130.0,
        stages=stages,
        failed=failed,
    )


def outcome(*images: ImageRun, **more: object) -> Outcome:
    return Outcome(began=100.0, ended=140.0, slots=2, images=images, **more)  # type: ignore[arg-type]


@pytest.fixture
def two() -> Outcome:
    """Two images that waited for one wheel: the second joined it half way, and saw only the rest."""
    first = image("one", ran("wheel", WHEEL, (100.0, 120.0)), ran("env", ENV_A, (120.0, 130.0)), cached("base", "0"))
    second = image("two", ran("wheel", WHEEL, (110.0, 120.0)), ran("env", ENV_B, (120.0, 125.0)), cached("base", "0"))
    return outcome(first, second)


def test_what_ran_once_is_counted_once(two: Outcome) -> None:
    totals = make_report(two, {}).totals
    assert (totals.ran, totals.ran_seconds) == (3, 35.0)
    assert totals.handed_out == 1
    assert (totals.different, totals.needed) == (4, 6)


def test_apart_each_image_pays_for_itself(two: Outcome) -> None:
    """The base was never timed: it is in neither sum, and that is said."""
    report = make_report(two, {})
    assert (report.totals.together, report.totals.apart, report.totals.unknown) == (35.0, 55.0, 1)
    assert "0.64 of it; 1 never timed, left out" in "\n".join(summary(report))
    known = make_report(two, {"0": 5.0}).totals
    assert (known.together, known.apart, known.unknown) == (40.0, 65.0, 0)


def test_what_is_known_of_the_whole_stage_goes_before_a_part_of_it() -> None:
    """Of the wheel only the last step ran: the sums are of whole stages."""
    part = outcome(image("one", ran("wheel", WHEEL, (100.0, 101.0))), image("two", cached("wheel", WHEEL)))
    totals = make_report(part, {WHEEL: 400.0}).totals
    assert (totals.ran_seconds, totals.together, totals.apart) == (1.0, 400.0, 800.0)


def test_only_images_that_are_there_are_compared() -> None:
    broken = image(
        "two", ran("wheel", WHEEL, (100.0, 110.0), state="failed"), state="failed", failed=Failed(first="no")
    )
    whole = image("one", ran("env", ENV_A, (100.0, 104.0)))
    assert make_report(outcome(whole, broken), {}).totals.apart == 4.0


def test_nothing_ran() -> None:
    lines = list(summary(make_report(outcome(image("one", cached("base", "0"))), {})))
    assert lines[0] == "1 image: 1 done in 40.0 s, 2 at a time"
    assert lines[1] == "stages run: none, everything was there already"


def test_every_end_is_counted() -> None:
    images = (image("a"), image("b", state="failed"), image("c", state="left"), image("d", state="cancelled"))
    assert next(summary(make_report(outcome(*images), {}))).startswith(
        "4 images: 1 done, 1 failed, 1 not tried, 1 interrupted or not begun in"
    )


def test_a_bar_is_the_first_images_and_shared_with_the_others(two: Outcome) -> None:
    rows = list(rows_of(make_report(two, {})))
    kinds = {(row.image.name, bar.stage): bar.kind for row in rows for bar in row.bars}
    assert kinds == {
        ("one", "wheel"): "ran",
        ("one", "env"): "ran",
        ("two", "wheel"): "shared",
        ("two", "env"): "ran",
    }


def test_stages_at_a_time_lie_in_lanes() -> None:
    busy = image(
        "one",
        ran("x", "x", (100.0, 110.0)),
        ran("y", "y", (105.0, 108.0)),
        ran("z", "z", (108.0, 112.0), (113.0, 114.0)),
    )
    (row,) = rows_of(make_report(outcome(busy), {}))
    assert row.lanes == 2
    assert {(bar.stage, bar.lane, bar.begin) for bar in row.bars} == {
        ("x", 0, 0.0),
        ("y", 1, 5.0),
        ("z", 1, 8.0),
        ("z", 1, 13.0),
    }


def test_json_has_no_time_but_from_the_beginning(two: Outcome) -> None:
    data = json.loads(json.dumps(to_data(make_report(two, {WHEEL: 20.0}))))
    assert data["schema"] == "drivebuild.build-all/1"
    assert data["images"][1]["stages"][0]["spans"] == [[10.0, 20.0]]
    assert data["stages"][0] == {
        "stage": "wheel",
        "digest": WHEEL,
        "images": ["one", "two"],
        "seconds": 20.0,
        "whole_seconds": 20.0,
        "failed": False,
    }
    assert data["totals"]["ratio"] == 0.636


def test_the_page_shows_failures_first_and_escapes_all_of_them() -> None:
    failed = Failed(stage=f"x{HOSTILE}", first=HOSTILE, message=HOSTILE, hint=HOSTILE, log=HOSTILE)
    bad = image(
        f"bad{HOSTILE}", ran(f"x{HOSTILE}", WHEEL, (101.0, 109.0), state="failed"), state="failed", failed=failed
    )
    good = image("good", ran("wheel", ENV_A, (101.0, 102.0)))
    page = render_page(make_report(outcome(good, bad, left_out={HOSTILE: HOSTILE}), {}, {"kernel": HOSTILE}))
    assert "alert(1)</script>" not in page
    assert "<script>alert" not in page
    assert len(re.findall(r"<script\b", page)) == page.count("</script>") == 3
    assert page.index("Failures") < page.index("Figures") < page.index("Timeline")


def test_a_page_of_images_of_which_none_was_begun() -> None:
    left = ImageRun(name="one", tag="t", platform="p", state="left", failed=Failed(first="the engine's disk is full"))
    page = render_page(make_report(outcome(left, stopped="the engine's disk is full"), {}))
    assert "<h2>Timeline</h2>" not in page
    assert "not tried" in page


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([], ()),
        ([(1.0, 2.0), (2.0, 3.0)], ((1.0, 3.0),)),
        ([(5.0, 6.0), (1.0, 9.0)], ((1.0, 9.0),)),
        ([(3.0, 4.0), (1.0, 2.0)], ((1.0, 2.0), (3.0, 4.0))),
    ],
)
def test_intervals(pieces: list[Interval], wanted: tuple[Interval, ...]) -> None:
    assert merged(pieces) == wanted

"""The page of a `build-all` in a real browser: drawn, silent, offline, usable on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.browser import PHONE, PLOTS, Open, plots, until

from builder.fleet.page import render_page
from builder.fleet.report import make_report
from builder.fleet.runs import Failed, ImageRun, Outcome, StageRun

HOSTILE = "</script><img src=http://localhost:9/x onerror=window.hit=1>"


def image(name: str, begin: float, state: str = "done") -> ImageRun:
    failed = Failed(stage=HOSTILE, first=HOSTILE, message=HOSTILE, hint=HOSTILE) if state == "failed" else None
    stages = (
        StageRun(name="wheel", state="done", digest="w", spans=((begin, 400.0),)),
        StageRun(name=f"env{HOSTILE}", state=state, digest=name, spans=((400.0, 450.0), (460.0, 470.0))),
        StageRun(name="src-wheel", state="cached", digest="s"),
    )
    return ImageRun(
        name=name,
        tag=f"drivebuild/{name}",
        platform="p",
        state=state,  # type: ignore[arg-type]
        began=begin,
        ended=480.0,
        stages=stages,
        failed=failed,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a page about a hundred images, with names that would like to be more than text."""
    images = [image(f"model-{number} debian-12-cpu-lto", 100.0 + number) for number in range(99)]
    outcome = Outcome(
        began=100.0,
        ended=500.0,
        slots=2,
        images=(*images, image(HOSTILE, 110.0, "failed")),
        left_out={HOSTILE: HOSTILE},
    )
    path = tmp_path / "page.html"
    path.write_text(render_page(make_report(outcome, {"s": 3.0}, {"kernel": HOSTILE})), encoding="utf-8")
    return path


def test_a_hundred_images_with_their_kinds_of_bars(opened: Open, page: Path) -> None:
    tab = opened(page)
    assert plots(tab) == ["Stages of each image over time"]
    shown = f"(() => {{ const plot = {PLOTS}[0]; return plot.below.find(part => part.type === 'Legend'); }})()"
    assert tab.evaluate(f"{shown}.items.map(item => item.label.value)") == ["ran", "shared", "failed"]
    drawn = f"{PLOTS}[0].renderers.map(one => one.data_source.length)"
    # One wheel that ran, 99 that waited for it, two stretches of each env; a hundred headings.
    assert tab.evaluate(drawn)[:4] == [1 + 2 * 99, 99, 2, 100]
    assert "100 images: 99 done, 1 failed" in tab.inner_text("h1")


def test_names_do_nothing(opened: Open, page: Path) -> None:
    tab = opened(page)
    assert tab.evaluate("window.hit") is None
    assert tab.locator("img").count() == 0
    assert HOSTILE in tab.inner_text("body")


def test_a_phone_scrolls_only_down(opened: Open, page: Path) -> None:
    tab = opened(page, **PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375


def test_it_is_dark_by_night(opened: Open, page: Path) -> None:
    tab = opened(page)
    tab.emulate_media(color_scheme="dark")
    until(tab, f"{PLOTS}[0].title.text_color === '#e5e7eb'")

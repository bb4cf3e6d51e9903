"""The page of a comparison in a real browser: drawn, silent, offline, usable on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.browser import PHONE, PLOTS, Open, plots, until

from builder.bench.containers import Sample, Subject
from builder.bench.measure import comparisons, measure
from builder.bench.page import render_page
from builder.bench.report import Report, SuiteReport
from builder.bench.suite import SUITES, Program

HOSTILE = "</script><img src=http://localhost:9/x onerror=window.hit=1>"


def suite(name: str, sides: tuple[str, ...], factor: float) -> SuiteReport:
    subjects = tuple(Subject(name=each, image=f"i:{each}", interpreter="/python", allocator="none") for each in sides)

    def take(subject: Subject, program: Program) -> Sample:
        place = sides.index(subject.name)
        return Sample(values={program.name: (2.0 + len(program.name) / 10) / factor**place}, version=subject.name)

    programs = SUITES[name].programs[:12]
    measured = measure(subjects, programs, 7, take, lambda *_: None)
    return SuiteReport(
        suite=name,
        title=SUITES[name].title,
        subjects=subjects,
        rounds=7,
        cpu="1",
        clock="wall",
        load=(0.0, 0.0),
        measured=measured,
        compared=comparisons(measured, sides[0]),
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a page about all three suites, with names that would like to be more than text."""
    suites = (
        suite("python", ("stock", "lto"), 1.2),
        suite("ops", ("stock", HOSTILE), 0.9),
        suite("dataloader", ("stock", "stock+tcmalloc", "stock+jemalloc", "lto"), 1.05),
    )
    report = Report(
        model="m", title=f"M {HOSTILE}", platform="p", machine={"processor": HOSTILE}, suites=suites, not_measured={}
    )
    path = tmp_path / "page.html"
    path.write_text(render_page(report), encoding="utf-8")
    return path


def shown_in_legend(tab: Any, number: int) -> list[str]:
    legend = "plot.below.find(part => part.type === 'Legend')"
    found = tab.evaluate(
        f"(() => {{ const plot = {PLOTS}[{number}]; return {legend}.items.map(i => i.label.value); }})()"
    )
    return list(found)


def test_every_suite_has_its_two_plots(opened: Open, page: Path) -> None:
    tab = opened(page)
    assert plots(tab) == [
        *("python: times as fast as stock", "python: rounds"),
        *("ops: times as fast as stock", "ops: rounds"),
        *("dataloader: times as fast as stock", "dataloader: rounds"),
    ]
    assert shown_in_legend(tab, 0) == ["lto"]
    assert shown_in_legend(tab, 5) == ["stock", "stock+tcmalloc", "stock+jemalloc", "lto"]
    ticks = tab.evaluate(f"[...{PLOTS}[0].left[0].major_label_overrides.values()]")
    assert ticks[0] == "geometric mean"
    assert len(ticks) == 13
    text = tab.inner_text("body")
    assert "1.200 (1.200 to 1.200)" in text
    assert "lto is faster" in text


def test_names_do_nothing(opened: Open, page: Path) -> None:
    tab = opened(page)
    assert tab.evaluate("window.hit") is None
    assert tab.locator("img").count() == 0
    assert HOSTILE in tab.inner_text("body")
    assert shown_in_legend(tab, 2) == [f"{HOSTILE[:29]}…"]


def test_a_phone_scrolls_only_down(opened: Open, page: Path) -> None:
    tab = opened(page, **PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375


def test_it_is_dark_by_night(opened: Open, page: Path) -> None:
    tab = opened(page)
    tab.emulate_media(color_scheme="dark")
    until(tab, f"{PLOTS}[0].title.text_color === '#e5e7eb'")

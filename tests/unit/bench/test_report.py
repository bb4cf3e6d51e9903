"""What a comparison says: tables, JSON, the page, and what the machine is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from builder.bench.containers import Sample, Subject
from builder.bench.machine import describe
from builder.bench.measure import comparisons, measure
from builder.bench.page import render_page
from builder.bench.report import Report, SuiteReport, lines, to_data
from builder.bench.suite import Program
from builder.web.page import bokeh_script

A = Subject(name="stock", image="drivebuild/m:p-stock", interpreter="/opt/venv/bin/python", allocator="none")
B = msgspec.structs.replace(A, name="stock+tcmalloc", allocator="tcmalloc")
P, Q, GONE, BROKEN = (Program(name, (name,)) for name in ("p", "q", "gone", "broken"))
HOSTILE = "</script><img src=x onerror=alert(1)>"


def steady(subject: Subject, program: Program) -> Sample:
    if program is GONE:
        return Sample(error="no operator here\nat all", absent=True)
    if program is BROKEN:
        return Sample(error="not finite\nat all")
    return Sample(values={program.name: 1.2 if subject is A else 1.0}, version="3.11.2")


def suite(rounds: int = 6, **changes: Any) -> SuiteReport:
    measured = measure((A, B), (P, Q, GONE, BROKEN), rounds, steady, lambda *_: None)
    words: dict[str, Any] = {
        "suite": "ops",
        "title": "operators",
        "subjects": (A, B),
        "rounds": rounds,
        "cpu": "1",
        "clock": "wall",
        "load": (0.5, 1.5),
        "measured": measured,
        "compared": comparisons(measured, "stock"),
    }
    return SuiteReport(**{**words, **changes})


def report(*suites: SuiteReport, **changes: Any) -> Report:
    words: dict[str, Any] = {"model": "m", "title": "M", "platform": "p", "machine": {"processor": "A chip"}}
    return Report(**{**words, "suites": suites, **changes})


def test_table_says_ratio_interval_winner_and_what_is_left_out() -> None:
    text = "\n".join(lines(suite(data="an invented one")))
    assert "1.200 (1.200 to 1.200)" in text
    assert "stock and stock+tcmalloc: stock+tcmalloc is faster" in text
    assert "6 rounds in turn, processor 1, wall clock, load 0.5 to 1.5" in text
    assert "data: an invented one" in text
    assert "left out: broken, stock, round 1: not finite" in text
    assert "not in these images: gone (no operator here)" in text


def test_json_has_every_sample() -> None:
    data = json.loads(json.dumps(to_data(report(suite(), not_measured={"python": "no lock"}))))
    assert data["schema"] == "drivebuild.bench/2"
    assert data["not_measured"] == {"python": "no lock"}
    (found,) = data["suites"]
    assert found["clock"] == "wall"
    assert found["subjects"]["stock+tcmalloc"]["allocator"] == "tcmalloc"
    assert found["comparisons"][0]["winner"] == "stock+tcmalloc"
    assert found["comparisons"][0]["geometric_mean"]["median"] == pytest.approx(1.2)
    assert found["seconds"]["stock+tcmalloc"]["q"] == [1.0] * 6
    assert found["absent"] == {"gone": "no operator here\nat all"}


def test_one_round_is_json_without_infinity() -> None:
    data = to_data(report(suite(1)))
    assert json.loads(json.dumps(data, allow_nan=False))["suites"][0]["comparisons"][0]["noise"] is None


# --- the page ------------------------------------------------------------------------------------


def test_the_page_has_every_suite_figure_and_fact() -> None:
    text = render_page(report(suite(), suite(suite="dataloader", data="a small one"), not_measured={"python": "why"}))
    own = text.replace(bokeh_script(), "")
    for wanted in (
        "ops: stock+tcmalloc",
        "dataloader: stock+tcmalloc",
        "1.200 (1.200 to 1.200)",
        "A chip",
        "a small one",
    ):
        assert wanted in own
    assert "Suite python was not measured: why" in own
    assert "noise" in own
    assert len(text) < 2_000_000
    assert 'src="' not in own
    assert 'href="' not in own
    data = json.loads(re.findall(r'id="plot-data">(.*?)</script>', own)[0])
    assert data["target_id"] == "plots"
    assert json.dumps(data).count('"Figure"') == 4


def test_nothing_of_a_name_or_an_answer_becomes_html() -> None:
    def hostile(_subject: Subject, program: Program) -> Sample:
        if program is BROKEN:
            return Sample(error=HOSTILE)
        return Sample(values={HOSTILE: 1.0}, version=HOSTILE)

    sides = (A, msgspec.structs.replace(B, name=HOSTILE, image=HOSTILE))
    measured = measure(sides, (P, BROKEN), 5, hostile, lambda *_: None)
    found = suite(
        subjects=sides, measured=measured, compared=comparisons(measured, "stock"), data=HOSTILE, title=HOSTILE
    )
    text = render_page(report(found, title=HOSTILE, machine={HOSTILE: HOSTILE}, not_measured={HOSTILE: HOSTILE}))
    own = text.replace(bokeh_script(), "")
    assert "onerror=alert(1)" in own
    assert "<img" not in own
    assert len(re.findall("<script", own)) == len(re.findall("</script", own)) == 3


def test_a_page_of_nothing_measured_says_so() -> None:
    assert "Suite ops was not measured: no image" in render_page(report(not_measured={"ops": "no image"}))


# --- the machine ---------------------------------------------------------------------------------


def test_facts_are_those_the_kernel_tells(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert "processor" not in describe(tmp_path)
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: A chip @ 2 GHz\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal:       16777216 kB\n")
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("performance\n")
    found = describe(tmp_path)
    assert (found["processor"], found["memory"], found["governor"]) == ("A chip @ 2 GHz", "16.0 GiB", "performance")

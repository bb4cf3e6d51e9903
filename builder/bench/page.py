"""One page about one comparison: verdicts, plots, every figure, the machine."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from builder.bench.plots import make_plots
from builder.bench.report import Report, SuiteReport, absences, cell, conclusion, heading, typical
from builder.web.page import COLOURS, fill_page

__all__ = ["render_page"]


def render_page(report: Report) -> str:
    """Return the page's text.

    Raises:
        UsageError: when Bokeh is not installed.
    """
    shown = {
        "title": f"{report.title} on {report.platform}: {', '.join(each.suite for each in report.suites) or 'nothing'}",
        "suites": [_suite(each) for each in report.suites],
        "not_measured": list(report.not_measured.items()),
        "machine": list(report.machine.items()),
    }
    template = (files("builder.bench") / "page.html.j2").read_text(encoding="utf-8")
    return fill_page(template, shown, make_plots(report))


def _suite(report: SuiteReport) -> dict[str, Any]:
    measured, compared = report.measured, report.compared
    reference = report.subjects[0].name
    rows = [
        (
            name,
            f"{typical(measured, reference, name) * 1e3:,.3f} ms",
            [(each.subject, cell(each.programs[name])) for each in compared],
        )
        for name in compared[0].programs
    ]
    rows.append(("geometric mean", "", [(each.subject, cell(each.overall)) for each in compared]))
    failed = [f"left out: {name}, {why.splitlines()[0]}" for name, why in measured.failed.items()]
    return {
        "name": report.suite,
        "title": report.title,
        "heading": heading(report),
        "data": report.data,
        "reference": reference,
        "coverage": f"{compared[0].overall.coverage:.0%}",
        "columns": [each.subject for each in compared],
        "rows": rows,
        "notes": [*failed, *absences(measured)],
        "subjects": [
            (
                each.name,
                f"{each.image}, {each.interpreter}, {measured.versions.get(each.name, '')}"
                + (f", allocator {each.allocator}" if each.allocator else ""),
            )
            for each in report.subjects
        ],
        "verdicts": [_verdict(report, number) for number in range(len(compared))],
    }


def _verdict(report: SuiteReport, number: int) -> dict[str, Any]:
    found = report.compared[number]
    tones = {found.subject: "good", found.reference: "bad"}
    noise = "one round alone" if found.noise == float("inf") else f"{found.noise - 1:.1%} between rounds of one side"
    return {
        "subject": found.subject,
        "reference": found.reference,
        "mark": (number + 1) % len(COLOURS),
        "ratio": cell(found.overall),
        "said": conclusion(found),
        "tone": tones.get(found.verdict.winner, ""),
        "noise": noise,
    }

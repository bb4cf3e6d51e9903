"""Finished comparisons as data for JSON, and as the lines of tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from builder.bench.containers import Subject
from builder.bench.measure import Measured
from builder.bench.statistics import Comparison, Interval

__all__ = [
    "SCHEMA",
    "Report",
    "SuiteReport",
    "absences",
    "cell",
    "conclusion",
    "heading",
    "lines",
    "to_data",
    "typical",
]

SCHEMA = "drivebuild.bench/2"


class SuiteReport(msgspec.Struct, frozen=True, kw_only=True):
    """One suite: how it was measured, the samples, and what follows from them."""

    suite: str
    title: str
    subjects: tuple[Subject, ...]
    """The first is the reference."""
    rounds: int
    cpu: str
    clock: str
    load: tuple[float, float]
    """Of the machine, before and after."""
    data: str = ""
    """Which nuScenes was read, if any."""
    measured: Measured
    compared: tuple[Comparison, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the command."""

    model: str
    title: str
    """The model's, for people."""
    platform: str
    machine: Mapping[str, str]
    """Facts about it, by what they are called."""
    suites: tuple[SuiteReport, ...]
    not_measured: Mapping[str, str] = {}
    """Suites of which there is no figure, and why."""


def to_data(report: Report) -> dict[str, Any]:
    """Return everything as JSON values: what was measured, where, and what follows from it."""
    return {
        "schema": SCHEMA,
        "model": report.model,
        "platform": report.platform,
        "machine": dict(report.machine),
        "suites": [_suite(each) for each in report.suites],
        "not_measured": dict(report.not_measured),
    }


def _suite(report: SuiteReport) -> dict[str, Any]:
    measured = report.measured
    return {
        "suite": report.suite,
        "subjects": {
            each.name: {"image": each.image, "interpreter": each.interpreter, "allocator": each.allocator or None}
            for each in report.subjects
        },
        "rounds": report.rounds,
        "cpu": report.cpu,
        "clock": report.clock,
        "load": list(report.load),
        "data": report.data or None,
        "versions": dict(measured.versions),
        "comparisons": [_comparison(each) for each in report.compared],
        "failed": dict(measured.failed),
        "absent": dict(measured.absent),
        "seconds": {
            name: {key: list(found) for key, found in table.items()} for name, table in measured.seconds.items()
        },
    }


def _comparison(compared: Comparison) -> dict[str, Any]:
    return {
        "reference": compared.reference,
        "subject": compared.subject,
        "geometric_mean": _interval(compared.overall),
        "noise": compared.noise if compared.noise != float("inf") else None,
        "winner": compared.verdict.winner or None,
        "reason": compared.verdict.reason,
        "programs": {name: _interval(found) for name, found in compared.programs.items()},
    }


def _interval(found: Interval) -> dict[str, float]:
    return {"median": found.median, "low": found.low, "high": found.high, "coverage": round(found.coverage, 4)}


def heading(report: SuiteReport) -> str:
    """Return how a suite was measured, in one line."""
    first, last = report.load
    return (
        f"suite {report.suite}, {report.rounds} rounds in turn, processor {report.cpu}, "
        f"{report.clock} clock, load {first:.1f} to {last:.1f}"
    )


def lines(report: SuiteReport) -> Iterator[str]:
    """Yield the table: one row for each figure, one column for each subject, and what may be concluded."""
    compared, measured = report.compared, report.measured
    yield heading(report)
    if report.data:
        yield f"data: {report.data}"
    if not compared:
        return
    reference, first = compared[0].reference, compared[0]
    width = max(len(name) for name in (*first.programs, "geometric mean")) + 2
    column = max(26, *(len(each.subject) + 2 for each in compared))
    left = max(14, len(reference) + 5)
    yield f"{'':{width}}{reference + ' ms':>{left}}" + "".join(f"{each.subject:>{column}}" for each in compared)
    for name in first.programs:
        cells = "".join(f"{cell(each.programs[name]):>{column}}" for each in compared)
        yield f"{name:{width}}{typical(measured, reference, name) * 1e3:{left}.3f}{cells}"
    yield f"{'geometric mean':{width}}{'':{left}}" + "".join(f"{cell(each.overall):>{column}}" for each in compared)
    yield ""
    yield f"Times as fast as {reference}, with an interval that covers {first.overall.coverage:.0%} of cases."
    for each in compared:
        yield f"{each.reference} and {each.subject}: {conclusion(each)}"
    for name, why in measured.failed.items():
        yield f"left out: {name}, {why.splitlines()[0]}"
    yield from absences(measured)


def typical(measured: Measured, subject: str, figure: str) -> float:
    """Return the median seconds of a figure, over the rounds."""
    seconds = sorted(measured.seconds[subject][figure])
    return seconds[len(seconds) // 2]


def conclusion(compared: Comparison) -> str:
    """Return what may be said of two sides."""
    verdict = compared.verdict
    return f"{verdict.winner} is faster ({verdict.reason})" if verdict.winner else f"no winner: {verdict.reason}"


def absences(measured: Measured) -> Iterator[str]:
    """Yield what these images do not have: one line for each reason."""
    for why in dict.fromkeys(measured.absent.values()):
        names = ", ".join(name for name, said in measured.absent.items() if said == why)
        yield f"not in these images: {names}" + (f" ({why.splitlines()[0]})" if why else "")


def cell(found: Interval) -> str:
    """Return a ratio with its interval."""
    return f"{found.median:.3f} ({found.low:.3f} to {found.high:.3f})"

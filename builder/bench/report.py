"""A finished comparison as data for JSON, and as the lines of a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.bench.measure import Measured
from builder.bench.statistics import Comparison, Interval

__all__ = ["SCHEMA", "lines", "to_data"]

SCHEMA = "drivebuild.bench/1"


def to_data(measured: Measured, compared: Sequence[Comparison], circumstances: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as JSON values: what was measured, where, and what follows from it."""
    return {
        "schema": SCHEMA,
        **circumstances,
        "versions": dict(measured.versions),
        "comparisons": [_comparison(each) for each in compared],
        "failed": dict(measured.failed),
        "absent": list(measured.absent),
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


def lines(measured: Measured, compared: Sequence[Comparison]) -> Iterator[str]:
    """Yield the table: one row for each figure, one column for each subject, and what may be concluded."""
    if not compared:
        return
    reference, first = compared[0].reference, compared[0]
    width = max(len(name) for name in (*first.programs, "geometric mean")) + 2
    yield f"{'':{width}}{reference + ' ms':>14}" + "".join(f"{each.subject:>26}" for each in compared)
    for name in first.programs:
        seconds = sorted(measured.seconds[reference][name])
        cells = "".join(f"{_cell(each.programs[name]):>26}" for each in compared)
        yield f"{name:{width}}{seconds[len(seconds) // 2] * 1e3:14.3f}{cells}"
    yield f"{'geometric mean':{width}}{'':14}" + "".join(f"{_cell(each.overall):>26}" for each in compared)
    yield ""
    yield f"Times as fast as {reference}, with an interval that covers {first.overall.coverage:.0%} of cases."
    for each in compared:
        verdict = each.verdict
        said = f"{verdict.winner} is faster ({verdict.reason})" if verdict.winner else f"no winner: {verdict.reason}"
        yield f"{each.reference} and {each.subject}: {said}"
    for name, why in measured.failed.items():
        yield f"left out: {name}, {why.splitlines()[0]}"
    if measured.absent:
        yield f"not in these images: {', '.join(measured.absent)}"


def _cell(found: Interval) -> str:
    return f"{found.median:.3f} ({found.low:.3f} to {found.high:.3f})"

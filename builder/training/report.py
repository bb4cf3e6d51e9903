"""A report as JSON data and as lines for people. Pure: who prints them is the command line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from builder.training.gather import Report
from builder.training.words import clean

__all__ = ["SCHEMA", "comparison_rows", "environment_rows", "figures", "heading", "to_data"]

SCHEMA = 1


def to_data(report: Report) -> dict[str, Any]:
    """Return a report as JSON data: no NaN, no infinity."""
    setting, source = report.setting, report.source
    rows = [
        {
            "row": msgspec.to_builtins(item.row),
            "verdicts": [{**msgspec.to_builtins(verdict), "text": verdict.sentence()} for verdict in item.verdicts],
            "reasons": list(item.reasons),
        }
        for item in report.comparison.rows
    ]
    data = {
        "name": source.name,
        "model": report.model.name,
        "setting": {**msgspec.to_builtins(setting), "global_batch": setting.global_batch},
        "summary": msgspec.to_builtins(report.summary),
        "samples_per_second": report.samples_per_second,
        "comparison": {"rows": rows, "reasons": list(report.comparison.reasons)},
        "notes": list(report.notes),
        "run": dict(source.record),
        "result": dict(source.result),
    }
    return finite(data)  # type: ignore[no-any-return]


def finite(value: Any) -> Any:
    """Return the value with null for what JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def heading(report: Report) -> str:
    """Return what was run, in one line."""
    setting = report.setting
    words = [report.model.title, setting.job]
    if setting.batch:
        words.append(f"{setting.cards} cards with {setting.batch} each: global batch {setting.global_batch}")
    words += [word for word in (setting.platform, setting.variant) if word]
    return clean(", ".join(words))


def figures(report: Report) -> Iterator[tuple[str, str]]:
    """Yield a run's figures, each with its name."""
    summary, result = report.summary, report.source.result
    if result:
        seconds = result.get("seconds")
        took = f" after {_duration(seconds)}" if isinstance(seconds, int | float) else ""
        yield "ended", clean(f"{result.get('status', 'unknown')}{took}: {result.get('reason', '')}".rstrip(": "))
    elif report.source.record:
        yield "ended", "not yet: there is no result.json"
    if summary.lines:
        yield "steps", _steps(report)
        if summary.step_median is not None and summary.step_p95 is not None:
            left = f"{summary.warmup_lines} of {summary.lines} lines left out as warm-up"
            times = f"median {summary.step_median:.4g} s, 95 % within {summary.step_p95:.4g} s"
            yield "step time", f"{times}, mean {summary.step_mean:.4g} s ({left})"
        else:
            yield "step time", f"none: all {summary.lines} lines are warm-up or have no time"
        if report.samples_per_second is not None:
            yield "samples/s", f"{report.samples_per_second:.4g} over all cards"
        yield "loss", f"first {_g(summary.loss_first)}, last {_g(summary.loss_last)}, least {_g(summary.loss_min)}"
        if summary.memory_max is not None:
            yield "memory", f"{summary.memory_max:.0f} MiB at most"
    units = {metric.name: metric.unit for metric in report.log.metrics}
    for name, value in summary.metrics.items():
        yield name, f"{value:.2f} %" if units.get(name) == "percent" else f"{value:.4f}"
    for kind, count in summary.failures.items():
        yield "trouble", f"{kind} in {count} line{'s' * (count != 1)}"


def _steps(report: Report) -> str:
    summary = report.summary
    text = f"{summary.steps}"
    if summary.epochs is not None:
        text += f", in epoch {summary.epochs}"
    if summary.of:
        text += f" ({summary.of} {'an epoch' if summary.epochs is not None else 'in all'})"
    return text + (f"; begun {summary.runs} times" if summary.runs > 1 else "")


def comparison_rows(report: Report) -> Iterator[tuple[str, str, str, str]]:
    """Yield chip, build, what was compared, and the verdict, for each figure of each published row."""
    for item in report.comparison.rows:
        chip = item.row.chip + (" (reference)" if item.row.reference else "")
        for verdict in item.verdicts:
            yield chip, item.row.build, verdict.what, verdict.sentence()
        for reason in item.reasons:
            yield chip, item.row.build, "not compared" if not item.verdicts else "note", reason


def environment_rows(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what run.json says, one line each."""
    for key, value in report.source.record.items():
        if isinstance(value, dict):
            for name, item in value.items():
                yield clean(f"{key}.{name}", 80), clean(str(item))
        elif isinstance(value, list):
            yield clean(key, 80), clean(" ".join(str(item) for item in value))
        else:
            yield clean(key, 80), clean(str(value))


def _g(value: float | None) -> str:
    return "none" if value is None else f"{value:.5g}"


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds) or seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {int(seconds) % 60} s"

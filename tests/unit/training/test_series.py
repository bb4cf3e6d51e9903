"""Records to figures: warm-up, several runs, bounds."""

from __future__ import annotations

import math

import pytest
from support.training import step_line, training

from builder.recipe.types import TrainingLog
from builder.source.catalog import read_catalog
from builder.training import series as module
from builder.training.logs import LogParser
from builder.training.records import Failure, Step
from builder.training.series import Series, quantile
from builder.training.thin import thin

CATALOG = read_catalog()


def log_of(model: str) -> TrainingLog:
    found = CATALOG.models[model].log
    assert found is not None
    return found


def gathered(model: str, lines: list[str]) -> Series:
    parser, series = LogParser(log_of(model)), Series(log_of(model))
    series.extend(parser.feed("\n".join(lines).encode()))
    series.extend(parser.close())
    return series


def test_the_first_line_never_counts() -> None:
    found = gathered("panoocc", list(training("panoocc", 1))).summary()
    assert (found.lines, found.warmup_lines, found.timed_lines) == (70, 1, 69)
    assert found.step_median == pytest.approx(1.849, rel=0.03)
    assert found.step_p95 is not None
    assert found.step_p95 < 2
    assert found.memory_max == 30280


def test_iteration_0_and_ten_step_lines_are_warm_up_for_50_steps() -> None:
    assert gathered("tpvformer", list(training("tpvformer", 1))).summary().warmup_lines == 1
    assert gathered("pivotnet", list(training("pivotnet", 1))).summary().warmup_lines == 5


def test_every_run_has_its_own_warm_up() -> None:
    lines = [step_line("panoocc", 1, step, seconds=50.0 if step == 50 else 2.0) for step in (50, 100, 150)]
    found = gathered("panoocc", [*lines, *lines]).summary()
    assert (found.runs, found.lines, found.warmup_lines, found.timed_lines) == (2, 6, 2, 4)
    assert found.step_median == 2.0


def test_nothing_but_warm_up() -> None:
    found = gathered("panoocc", [step_line("panoocc", 1, 50)]).summary()
    assert (found.step_median, found.step_p95, found.step_mean, found.timed_lines) == (None, None, None, 0)
    assert found.steps == 50


def test_an_empty_log() -> None:
    found = gathered("panoocc", ["nothing", "to see"]).summary()
    assert (found.lines, found.steps, found.loss_last, found.finished) == (0, None, None, None)


def test_losses_that_are_no_numbers_are_counted_and_do_not_spoil_the_least() -> None:
    lines = [step_line("panoocc", 1, step) for step in (50, 100, 150)]
    lines[1] = lines[1].replace(" loss: ", " loss: nan, was: ")
    found = gathered("panoocc", lines).summary()
    assert found.not_finite == 1
    assert found.loss_min is not None
    assert math.isfinite(found.loss_min)


def test_the_end_of_an_epoch() -> None:
    assert gathered("panoocc", list(training("panoocc", 1))).summary().finished is True
    assert gathered("panoocc", [step_line("panoocc", 1, step) for step in (50, 100)]).summary().finished is False


def test_points_are_bounded_and_stay_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_POINTS", 100)
    series = Series(log_of("panoocc"))
    for number in range(1, 1001):
        series.add(
            Step(run=0, epoch=1, step=number * 50, of=10**6, seconds=1.0, loss=1.0, others={f"n{number % 200}": 1.0})
        )
    assert len(series.at) <= 100
    assert len({b - a for a, b in zip(series.at, series.at[1:], strict=False)}) == 1
    assert len(series.parts) <= module.MAX_NAMES
    assert {len(values) for values in series.parts.values()} == {len(series.at)}
    found = series.summary()
    assert found.lines == 1000
    assert found.kept == len(series.at)


def test_failures_are_counted_and_few_are_shown() -> None:
    series = Series(log_of("panoocc"))
    for number in range(1000):
        series.add(Failure(kind="npu", line=f"line {number}"))
    found = series.summary()
    assert found.failures == {"npu": 1000}
    assert len(found.failure_lines) == module.MAX_SHOWN


def test_quantile_is_the_nearest_rank() -> None:
    assert quantile(range(1, 101), 0.95) == 95
    assert quantile([3.0], 0.95) == 3.0


def test_thin_keeps_what_stands_out() -> None:
    y = [1.0] * 10_000
    y[4321], y[77], y[9000] = 99.0, -5.0, math.nan
    x, short = thin(list(range(10_000)), y, 200)
    assert len(short) <= 200
    assert dict(zip(x, short, strict=True))[4321] == 99.0
    assert dict(zip(x, short, strict=True))[77] == -5.0
    assert thin([1, 2], [1.0, math.inf]) == ([1], [1.0])

"""Records gathered: what of a training is kept for curves, and the figures that are reported. Pure.

Memory is bounded: past `MAX_POINTS` every second point goes, and so on.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from statistics import fmean, median

from msgspec import Struct

from builder.recipe.types import TrainingLog
from builder.training.records import Failure, FailureKind, Metric, Record, Step

__all__ = ["Series", "Summary", "quantile"]

MAX_POINTS = 200_000
MAX_NAMES = 64
MAX_METRICS = 64
MAX_SHOWN = 20
NAN = math.nan


class Summary(Struct, frozen=True, kw_only=True):
    """The figures of one run or log; times in seconds, memory in MiB."""

    lines: int
    """Step lines that were read."""
    runs: int
    """Times that epoch or step went back, and one."""
    steps: int | None
    """The last step in the count of the whole training, as far as the log tells; None without step lines."""
    epochs: int | None
    """The last epoch that a line is from, from 1 on; None where the log counts through."""
    of: int | None
    """Steps of an epoch, or of the training where the log counts through."""
    finished: bool | None
    """Whether the last line is the last or the last but the interval; None where the log does not say."""
    warmup_lines: int
    timed_lines: int
    step_median: float | None
    step_p95: float | None
    step_mean: float | None
    loss_first: float | None
    loss_last: float | None
    loss_min: float | None
    not_finite: int
    """Lines whose loss is not a finite number."""
    memory_max: float | None
    metrics: Mapping[str, float]
    failures: Mapping[FailureKind, int]
    failure_lines: tuple[str, ...]
    kept: int
    """Points that are kept of `lines`."""


class Series:
    """Takes records; gives points for curves and a summary."""

    def __init__(self, log: TrainingLog) -> None:
        self._warmup = log.warmup
        self._first_steps: dict[int, int] = {}
        self._stride = 1
        self.lines = 0
        self.at = array("d")
        """Step in the count of the whole training."""
        self.loss = array("d")
        self.rate = array("d")
        self.seconds = array("d")
        """Of a step; NaN in the warm-up and where there is none."""
        self.parts: dict[str, array[float]] = {}
        """The other figures, by name; NaN where a line lacks one."""
        self.metrics: dict[str, Metric] = {}
        self._failures: dict[FailureKind, int] = {}
        self._failure_lines: dict[str, None] = {}
        self._last: Step | None = None
        self._gap = 0
        self._warm = self._timed = self._odd = self._runs = 0
        self._memory: float | None = None
        self._loss_first: float | None = None
        self._loss_min: float | None = None

    def extend(self, records: Iterable[Record]) -> None:
        """Take records in their order."""
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take one record."""
        if isinstance(record, Step):
            self._step(record)
        elif isinstance(record, Metric):
            if record.name in self.metrics or len(self.metrics) < MAX_METRICS:
                self.metrics[record.name] = record
        else:
            self._failure(record)

    def _failure(self, failure: Failure) -> None:
        self._failures[failure.kind] = self._failures.get(failure.kind, 0) + 1
        if len(self._failure_lines) < MAX_SHOWN:
            self._failure_lines.setdefault(failure.line)

    def _step(self, step: Step) -> None:
        at = _at(step)
        first = self._first_steps.get(step.run)
        if first is None:
            # A run that begins anew in the same log takes the place of the one before; only its first step is kept.
            self._first_steps = {step.run: at}
            self._runs += 1
        elif self._last is not None:
            self._gap = at - _at(self._last)
        warm = first is not None and at - first >= self._warmup
        self._last = step
        self.lines += 1
        self._warm += not warm
        self._timed += warm and step.seconds is not None
        self._loss(step.loss)
        if step.memory is not None and math.isfinite(step.memory):
            self._memory = max(step.memory, self._memory or 0.0)
        if (self.lines - 1) % self._stride == 0:
            self._keep(step, at, warm=warm)

    def _loss(self, loss: float | None) -> None:
        if loss is None or not math.isfinite(loss):
            self._odd += 1
            return
        self._loss_first = loss if self._loss_first is None else self._loss_first
        self._loss_min = loss if self._loss_min is None else min(loss, self._loss_min)

    def _keep(self, step: Step, at: int, *, warm: bool) -> None:
        count = len(self.at)
        self.at.append(at)
        self.loss.append(NAN if step.loss is None else step.loss)
        self.rate.append(NAN if step.rate is None else step.rate)
        self.seconds.append(step.seconds if warm and step.seconds is not None else NAN)
        for name, value in step.others.items():
            if name not in self.parts:
                if len(self.parts) >= MAX_NAMES:
                    continue
                self.parts[name] = array("d", [NAN]) * count
            self.parts[name].append(value)
        for values in self.parts.values():
            if len(values) <= count:
                values.append(NAN)
        if len(self.at) > MAX_POINTS:
            self._thin()

    def _thin(self) -> None:
        self._stride *= 2
        self.at, self.loss, self.rate, self.seconds = (
            values[::2] for values in (self.at, self.loss, self.rate, self.seconds)
        )
        self.parts = {name: values[::2] for name, values in self.parts.items()}

    def times(self) -> list[float]:
        """Return the kept step times after the warm-up, in seconds."""
        return [value for value in self.seconds if not math.isnan(value)]

    def summary(self) -> Summary:
        """Return the figures so far."""
        times, last = self.times(), self._last
        return Summary(
            lines=self.lines,
            runs=self._runs,
            steps=None if last is None else _at(last),
            epochs=None if last is None else last.epoch,
            of=None if last is None else last.of,
            finished=self._finished(),
            warmup_lines=self._warm,
            timed_lines=self._timed,
            step_median=median(times) if times else None,
            step_p95=quantile(times, 0.95) if times else None,
            step_mean=fmean(times) if times else None,
            loss_first=self._loss_first,
            loss_last=None if last is None else last.loss,
            loss_min=self._loss_min,
            not_finite=self._odd,
            memory_max=self._memory,
            metrics={name: metric.value for name, metric in self.metrics.items()},
            failures=dict(self._failures),
            failure_lines=tuple(self._failure_lines),
            kept=len(self.at),
        )

    def _finished(self) -> bool | None:
        last = self._last
        if last is None or last.of is None:
            return None
        return last.step + max(self._gap, 1) > last.of

    def take_evaluations(self, other: Series) -> None:
        """Take the metrics and failures of another log of the same training."""
        self.metrics, self._failures, self._failure_lines = other.metrics, other._failures, other._failure_lines


def quantile(values: Iterable[float], part: float) -> float:
    """Return the value that `part` of the values are at or below (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _at(step: Step) -> int:
    if step.epoch is None or step.of is None:
        return step.step
    return (step.epoch - 1) * step.of + step.step

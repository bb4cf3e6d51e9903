"""Where a training is while it runs: epoch, step, time left, loss, and its step time beside the published one. Pure:
it has no clock, times are given to it.
"""

from __future__ import annotations

import statistics
from collections import deque

from msgspec import Struct

from builder.recipe.types import Model
from builder.training.logs import LogParser
from builder.training.records import Failure, Metric, Step

__all__ = ["Progress", "Reading"]

RECENT = 20
"""Step lines that the step time and the time left go by: the first of a training are slow."""


class Reading(Struct, frozen=True, kw_only=True):
    """What there is to say at one moment; None and nothing for what is not known."""

    epoch: int | None = None
    epochs: int = 0
    step: int = 0
    of: int | None = None
    loss: float | None = None
    step_seconds: float | None = None
    """Median of the last step lines that name one."""
    published: float | None = None
    """The recipe's step time for the same global batch."""
    left: float | None = None
    """Seconds until the last step, by the pace of the last step lines."""
    metrics: tuple[tuple[str, str], ...] = ()
    trouble: str = ""
    """The last line that means trouble."""

    @property
    def against(self) -> float | None:
        """By which part the step time differs from the published one; 0.1 is 10 % slower."""
        if self.step_seconds is None or not self.published:
            return None
        return self.step_seconds / self.published - 1.0


class Progress:
    """Feed it what a job prints, with the time of its arrival; ask it for a `Reading`."""

    def __init__(self, model: Model, *, epochs: int = 0, published: float | None = None) -> None:
        self._parser = LogParser(model.log) if model.log is not None else None
        self._epochs, self._published = epochs, published
        self._step: Step | None = None
        self._loss: float | None = None
        self._seconds: deque[float] = deque(maxlen=RECENT)
        self._pace: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._metrics: dict[str, str] = {}
        self._trouble = ""

    def feed(self, piece: bytes, now: float) -> bool:
        """Take the next bytes; return whether there is something new to say."""
        if self._parser is None:
            return False
        records = self._parser.feed(piece)
        for record in records:
            if isinstance(record, Step):
                self._take(record, now)
            elif isinstance(record, Metric):
                self._metrics[record.name] = f"{record.value:.4g}{' %' if record.unit == 'percent' else ''}"
            elif isinstance(record, Failure):
                self._trouble = record.line
        return bool(records)

    def reading(self) -> Reading:
        """Return where the job is."""
        step = self._step
        if step is None:
            return Reading(epochs=self._epochs, metrics=tuple(self._metrics.items()), trouble=self._trouble)
        return Reading(
            epoch=step.epoch,
            epochs=self._epochs,
            step=step.step,
            of=step.of,
            loss=self._loss,
            step_seconds=statistics.median(self._seconds) if self._seconds else None,
            published=self._published,
            left=self._left(),
            metrics=tuple(self._metrics.items()),
            trouble=self._trouble,
        )

    def _take(self, step: Step, now: float) -> None:
        done = self._done(step)
        if self._step is None or step.run != self._step.run or (self._pace and done <= self._pace[-1][1]):
            # Another run in the same log, or it began anew: its pace says nothing about this one's.
            self._pace.clear()
            self._seconds.clear()
        self._step = step
        self._loss = step.loss if step.loss is not None else self._loss
        if step.seconds is not None:
            self._seconds.append(step.seconds)
        self._pace.append((now, done))

    @staticmethod
    def _done(step: Step) -> int:
        return step.step + ((step.epoch - 1) * step.of if step.epoch and step.of else 0)

    def _left(self) -> float | None:
        step = self._step
        if step is None or not step.of:
            return None
        total = step.of * self._epochs if step.epoch and self._epochs else step.of
        if len(self._pace) > 1 and self._pace[-1][0] > self._pace[0][0]:
            (first, before), (last, done) = self._pace[0], self._pace[-1]
            each = (last - first) / (done - before)
        elif self._seconds:
            each = statistics.median(self._seconds)
        else:
            return None
        return max(0.0, (total - self._done(step)) * each)

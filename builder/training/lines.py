"""One step line to its figures, by the recipe's `log.steps`; mmcv's JSON lines without. Pure but for what it remembers.

A line that is torn, or that two processes wrote into each other, gives nothing: a wrong figure is worse than none.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

from builder.recipe.types import StepLine
from builder.training.records import Step
from builder.training.words import clean, number, seconds_of

__all__ = ["JSON_MARK", "StepReader"]

JSON_MARK = '"mode": "train"'
OTHERS = 64
"""Figures of one line beyond the known ones."""
NAME_LENGTH = 80
NAMES = 1000
"""Names that are remembered with their cleaned form; a log that has more invents them."""
WINDOW = 60.0
"""Seconds that a time from stamps is taken over: stamps have full seconds, so it is then known to 2 %."""
DIGITS = 12
"""No training counts further; longer numbers come from torn lines."""


class StepReader:
    """Reads step lines, one after the other: which run they belong to, and how long a step took."""

    def __init__(self, steps: StepLine) -> None:
        self._steps = steps
        self._head = re.compile(steps.match, re.ASCII)
        self._end = re.compile(steps.ends, re.ASCII) if steps.ends else None
        self._groups = frozenset(self._head.groupindex)
        names = steps.names
        self._cleaned: dict[str, str] = {}
        self._known = {names.loss, names.time, names.rate, names.memory, names.data}
        self._window: deque[tuple[int, float]] = deque()
        self._place: tuple[int | None, int] | None = None
        self._figures: tuple[float, float | None] = (0.0, None)
        self.run = 0
        """The run that the lines belong to at present."""
        self.torn = 0
        """Step lines that could not be read: cut off, or two in one."""

    def text(self, line: str) -> Step | None:
        """Return the figures of a line that has `find`, or None: torn, repeated, or something else."""
        found = self._head.search(line)
        if not found:
            return None
        if self._head.search(line, found.end()) or (self._end and not self._end.search(line, found.end())):
            return self._tear()
        pairs: dict[str, float] = {}
        equals = self._steps.equals
        for part in line[found.end() :].split(self._steps.between):
            name, found_equals, text = part.partition(equals)
            value = number(text) if found_equals else None
            if value is None:
                continue
            if name in pairs:
                return self._tear()
            pairs[name] = value
        return self._step({name: found[name] for name in self._groups}, pairs, self._steps.first_epoch)

    def json(self, line: str) -> Step | None:
        """Return the figures of a line of mmcv's `*.log.json`, or None."""
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            return self._tear()
        if not isinstance(data, dict) or data.get("mode") != "train":
            return None
        pairs: dict[str, float] = {}
        for name, value in data.items():
            first = _first(value)
            if isinstance(first, int | float) and not isinstance(first, bool):
                pairs[name] = _float(first)
        step, epoch = pairs.pop("iter", None), pairs.pop("epoch", None)
        groups = {"step": _whole(step), "epoch": _whole(epoch) if "epoch" in self._groups else ""}
        # mmcv counts epochs from 1 there, whatever another log of the model does.
        return self._step(groups, pairs, 1)

    def _tear(self) -> Step | None:
        self.torn += 1
        return None

    def _step(self, groups: Mapping[str, str], pairs: Mapping[str, float], first_epoch: int) -> Step | None:
        names = self._steps.names
        step, epoch, of = _int(groups.get("step")), _int(groups.get("epoch")), _int(groups.get("of"))
        seconds, loss = _time(pairs.get(names.time)), pairs.get(names.loss)
        stamps = self._steps.time == "stamps"
        if step is None or loss is None or not (stamps or names.time in pairs):
            return self._tear()
        epoch = None if epoch is None else epoch - first_epoch + 1
        stamp = seconds_of(groups["stamp"]) if groups.get("stamp") else None
        if self._repeats((epoch, step), (loss, stamp)):
            return None
        return Step(
            run=self.run,
            epoch=epoch,
            step=step,
            of=of,
            seconds=self._from_stamps(step, stamp) if stamps else seconds,
            loss=loss,
            rate=pairs.get(names.rate),
            memory=pairs.get(names.memory),
            data_seconds=_time(pairs.get(names.data)),
            stamp=stamp,
            others=self._others(pairs),
        )

    def _others(self, pairs: Mapping[str, float]) -> dict[str, float]:
        cleaned, known = self._cleaned, self._known
        if len(cleaned) > NAMES:
            cleaned.clear()
        others: dict[str, float] = {}
        for name, value in islice(pairs.items(), OTHERS):
            if name not in known:
                shown = cleaned.get(name)
                if shown is None:
                    shown = cleaned[name] = clean(name, NAME_LENGTH)
                others[shown] = value
        return others

    def _repeats(self, place: tuple[int | None, int], figures: tuple[float, float | None]) -> bool:
        """Find the run that a line belongs to; return whether it is the line before once more."""
        last, self._place = self._place, place
        before, self._figures = self._figures, figures
        if last is None:
            return False
        if (place[0] or 0, place[1]) <= (last[0] or 0, last[1]):
            if place == last and figures == before:
                return True
            self.run += 1
            self._window.clear()
        elif place[0] != last[0]:
            # Between epochs lie checkpoints and evaluations, which are no steps.
            self._window.clear()
        return False

    def _from_stamps(self, step: int, stamp: float | None) -> float | None:
        """Return the seconds of a step by the clock, over at least `WINDOW` where the epoch is that old."""
        if stamp is None:
            return None
        window = self._window
        if window and stamp < window[-1][1]:
            # The clock was set back.
            window.clear()
        window.append((step, stamp))
        while len(window) > 2 and stamp - window[1][1] >= WINDOW:
            window.popleft()
        first_step, first_stamp = window[0]
        return (stamp - first_stamp) / (step - first_step) if step > first_step and stamp > first_stamp else None


def _int(text: str | None) -> int | None:
    # No more digits than a training can count to: int() of a line of digits takes its time.
    return int(text) if text and len(text) <= DIGITS else None


def _time(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _first(value: Any) -> Any:
    """Return the first of a list or mapping: mmcv writes one learning rate for each group of parameters."""
    for _ in range(3):
        if isinstance(value, dict):
            value = next(iter(value.values()), None)
        elif isinstance(value, list):
            value = value[0] if value else None
    return value


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _whole(value: float | None) -> str:
    return str(int(value)) if value is not None and 0 <= value < 10**DIGITS else ""

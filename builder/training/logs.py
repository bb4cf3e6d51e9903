"""A log, fed in chunks of any size while it is written, to records. Memory is bounded whatever is fed.

Few lines of a log say something. Each kind of them has a text that is in all of its lines; whole chunks are searched
for these texts, and only lines that have one are cut out and decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from builder.recipe.types import MetricLine, TrainingLog
from builder.training.lines import JSON_MARK, StepReader
from builder.training.records import Failure, FailureKind, Metric, Record
from builder.training.signals import SIGNALS, TRACEBACK, confirms
from builder.training.words import clean, number, strip_escapes

__all__ = ["CAP", "LogParser"]

CAP = 16 << 10
"""Longest line that is looked at, in bytes. Of a longer one the beginning is, and the rest is passed over."""
BLOCK = 64 << 10
"""What is searched at a time: it stays in the processor's cache for all texts."""
TRACE_LINES = 400
"""Lines of one traceback."""
_RANK = re.compile(r"^\[[\w :#-]{1,20}\]:? ?")
"""What torchrun puts before a rank's lines."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A text, and what is made of a line that has it."""

    text: bytes
    read: Callable[[str], Record | None]


class LogParser:
    """Feed it bytes; it returns what they say. One parser for one stream.

    >>> parser = LogParser(model.log)                                    # doctest: +SKIP
    >>> for chunk in iter(lambda: os.read(fd, 65536), b""):              # doctest: +SKIP
    ...     for record in parser.feed(chunk): ...
    >>> records = parser.close()                                         # doctest: +SKIP

    `feed` never raises for what it is fed, and returns records in the order of the lines.
    """

    def __init__(self, log: TrainingLog, *, structured: bool = False) -> None:
        """Make a parser of what a job prints, or with `structured` of mmcv's `*.log.json`."""
        self._reader = StepReader(log.steps)
        rules = [_Rule(JSON_MARK.encode(), self._reader.json)] if structured else self._make_rules(log)
        self._rules = tuple(rules)
        self._rest = b""
        self._skipping = False
        self._trace = 0
        self._trace_line = ""
        self.cut = 0
        """Lines longer than `CAP`."""

    @property
    def run(self) -> int:
        """The run that the log is in, from 0 on."""
        return self._reader.run

    @property
    def torn(self) -> int:
        """Step lines that could not be read: cut off, or two in one."""
        return self._reader.torn

    def _make_rules(self, log: TrainingLog) -> list[_Rule]:
        rules = [_Rule(log.steps.find.encode(), self._reader.text)]
        rules += [_Rule(metric.find.encode(), self._metric(metric)) for metric in log.metrics]
        for text, kind in SIGNALS.items():
            if text != TRACEBACK:
                rules.append(_Rule(text.encode(), _failure(text, kind)))
        rules += [_Rule(text.encode(), _failure(text, "given-up")) for text in log.failures]
        rules.append(_Rule(TRACEBACK.encode(), self._traceback))
        return rules

    # --- feeding -----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Record]:
        """Return what the lines say that `data` completes."""
        found: list[Record] = []
        for start in range(0, len(data), BLOCK):
            self._feed(data[start : start + BLOCK], found)
        return found

    def close(self) -> list[Record]:
        """Return what the last line says, which may lack its end, and a traceback that nothing ended."""
        found: list[Record] = []
        if self._rest and not self._skipping:
            self._lines(self._rest + b"\n", found)
        self._rest = b""
        if self._trace:
            self._end_trace(self._trace_line, found)
        return found

    def _feed(self, data: bytes, found: list[Record]) -> None:
        if self._skipping:
            start = _line_end(data, 0)
            if start < 0:
                return
            self._skipping = False
            data = data[start:]
        block = self._rest + data
        # A carriage return ends a line, too: progress bars write nothing else for hours.
        end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        self._rest = block[end:]
        if end:
            self._lines(block[:end], found)
        if len(self._rest) > CAP:
            head, self._rest, self._skipping = self._rest[:CAP], b"", True
            self.cut += 1
            self._lines(head + b"\n", found)

    # --- whole lines -------------------------------------------------------------------------------

    def _lines(self, block: bytes, found: list[Record]) -> None:
        if b"\x1b" in block:
            block = strip_escapes(block)
        start = self._follow(block, 0, found) if self._trace else 0
        for at, rule in self._hits(block, start):
            if at < start:
                # Inside a traceback that was read to its end.
                continue
            begin, end = _bounds(block, at)
            if end - begin > CAP:
                self.cut += 1
                end = begin + CAP
                if at >= end:
                    continue
            record = rule.read(block[begin:end].decode("utf-8", "replace"))
            if record is not None:
                found.append(record)
            if self._trace:
                start = self._follow(block, end, found)

    def _hits(self, block: bytes, start: int) -> list[tuple[int, _Rule]]:
        """Return where the texts are, at most one of each rule in a line, in the order of the lines."""
        hits: list[tuple[int, _Rule]] = []
        for rule in self._rules:
            at = block.find(rule.text, start)
            while at >= 0:
                hits.append((at, rule))
                end = _line_end(block, at)
                at = block.find(rule.text, end) if end > 0 else -1
        hits.sort(key=lambda hit: hit[0])
        return hits

    # --- tracebacks --------------------------------------------------------------------------------

    def _traceback(self, line: str) -> Record | None:
        self._trace, self._trace_line = TRACE_LINES, line
        return None

    def _follow(self, block: bytes, start: int, found: list[Record]) -> int:
        """Read on in a traceback; return where it ends, or the block's end."""
        while self._trace and start < len(block):
            end = _line_end(block, start)
            end = len(block) if end < 0 else end
            line = _RANK.sub("", block[start : min(end, start + CAP)].decode("utf-8", "replace").rstrip("\r\n"))
            start = end
            if not line:
                continue
            self._trace -= 1
            if not line.startswith((" ", "\t")) or not self._trace:
                self._end_trace(line, found)
        return start

    def _end_trace(self, line: str, found: list[Record]) -> None:
        self._trace, self._trace_line = 0, ""
        found.append(Failure(kind="traceback", line=clean(line)))
        for text, kind in SIGNALS.items():
            if text != TRACEBACK and text in line and confirms(text, line):
                found.append(Failure(kind=kind, line=clean(line)))
                break

    # --- metrics -----------------------------------------------------------------------------------

    def _metric(self, metric: MetricLine) -> Callable[[str], Record | None]:
        pattern = re.compile(metric.match, re.ASCII)
        factor = {("percent", "fraction"): 0.01, ("fraction", "percent"): 100.0}.get(
            (metric.printed or metric.unit, metric.unit), 1.0
        )

        def read(line: str) -> Record | None:
            found = pattern.search(line.rstrip("\r\n"))
            value = number(found["value"] or "") if found else None
            if value is None:
                return None
            return Metric(run=self._reader.run, name=metric.name, value=value * factor, unit=metric.unit)

        return read


def _failure(text: str, kind: FailureKind) -> Callable[[str], Record | None]:
    def read(line: str) -> Record | None:
        return Failure(kind=kind, line=clean(line)) if confirms(text, line) else None

    return read


def _line_end(block: bytes, at: int) -> int:
    """Return the place after the next line end, or -1."""
    newline = block.find(b"\n", at)
    turn = block.find(b"\r", at, newline if newline >= 0 else len(block))
    return (turn if turn >= 0 else newline) + 1 or -1


def _bounds(block: bytes, at: int) -> tuple[int, int]:
    """Return the line around `at`, without its end."""
    newline = block.rfind(b"\n", 0, at) + 1
    begin = max(newline, block.rfind(b"\r", newline, at) + 1)
    end = _line_end(block, at)
    return begin, end - 1 if end > 0 else len(block)

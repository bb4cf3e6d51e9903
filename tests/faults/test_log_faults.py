"""Logs that would fill the memory or never end: what is read of them is bounded, whatever is fed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import repeat

import pytest
from support.training import step_line

from builder.source.catalog import read_catalog
from builder.training.logs import LogParser
from builder.training.series import MAX_SHOWN, Series

CATALOG = read_catalog()
GIGABYTE = 1 << 30
PIECE = 1 << 20
MOST = 4 << 20
"""Bytes that a parser and its series may hold beside a piece of the log."""


def fed(pieces: Iterator[bytes], model: str = "panoocc") -> tuple[Series, LogParser, int]:
    """Return what was gathered, and the most memory that it took."""
    log = CATALOG.models[model].log
    assert log is not None
    parser, series = LogParser(log), Series(log)
    tracemalloc.start()
    try:
        for piece in pieces:
            series.extend(parser.feed(piece))
        series.extend(parser.close())
        return series, parser, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("filler", [b"x", b"\x00", b"\xff", b" "])
def test_a_gigabyte_without_newline(filler: bytes) -> None:
    piece = filler * PIECE
    line = step_line("panoocc", 1, 50).encode()
    series, parser, most = fed(iter([*repeat(piece, GIGABYTE // PIECE), b"\n", line, b"\n"]))
    assert most < MOST
    assert series.lines == 1, "what comes after it is read"
    assert parser.cut == 1


def test_a_gigabyte_without_newline_in_a_traceback() -> None:
    head = b"Traceback (most recent call last):\n"
    series, _, most = fed(iter([head, *repeat(b"x" * PIECE, 64), b"\nend\n"]))
    assert most < MOST
    assert series.summary().failures == {"traceback": 1}


def test_escape_sequences_without_end() -> None:
    _, _, most = fed(repeat(b"\x1b]0;" * 1000, 1000))
    assert most < MOST


def test_a_hundred_thousand_lines_of_trouble() -> None:
    series, _, most = fed(repeat(b"No space left on device\n" * 10_000, 10))
    assert series.summary().failures == {"no-space": 100_000}
    assert len(series.summary().failure_lines) <= MAX_SHOWN
    assert most < 8 << 20


def test_names_that_never_repeat() -> None:
    def pieces() -> Iterator[bytes]:
        for number in range(3000):
            line = step_line("panoocc", 1, 50 + number) + "".join(f", n{number}-{index}: 1.0" for index in range(20))
            yield line.encode() + b"\n"

    series, _, most = fed(pieces())
    assert len(series.parts) <= 64
    assert most < 8 << 20, "3000 points of 64 curves"


def test_runs_that_begin_again_and_again() -> None:
    lines = b"".join(step_line("panoocc", 1, step).encode() + b"\n" for step in (100, 50))
    series, parser, most = fed(repeat(lines, 2000))
    assert parser.run + 1 == series.summary().runs == 2001
    assert most < 16 << 20


def test_nothing_is_kept_for_a_stream_that_says_nothing() -> None:
    series, _, most = fed(repeat(b"loading annotations 1 of 28130\n" * 30_000, 100))
    assert series.lines == 0
    assert most < MOST

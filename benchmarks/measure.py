"""What the benchmarks share: interleaved runs of commands, medians, spread, and the machine's own noise."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Case", "Series", "interleave", "load", "random_pieces", "spread"]

PIECE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command to measure. `prepare` runs before each round, outside the clock."""

    name: str
    command: Sequence[str]
    exit_code: int = 0
    cwd: Path | None = None
    prepare: Callable[[], None] | None = None


@dataclass(slots=True)
class Series:
    """Seconds of every round of one case: on the clock, and of the processor (user and system)."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def interleave(cases: Sequence[Case], *, rounds: int, env: Mapping[str, str] | None = None) -> dict[str, Series]:
    """Run every case once per round, in alternating direction, so that a slow phase of the machine hits all of them.

    Raises:
        SystemExit: when a command ends with another exit code than its case says: its time would mean nothing.
    """
    found = {case.name: Series() for case in cases}
    for number in range(-1, rounds):  # round -1 warms the caches and is not counted
        for case in cases if number % 2 else list(reversed(cases)):
            wall, cpu = _run(case, env)
            if number >= 0:
                found[case.name].wall.append(wall)
                found[case.name].cpu.append(cpu)
    return found


def random_pieces(chance: random.Random, size: int) -> Iterator[bytes]:
    """Yield `size` random bytes, piece by piece: `randbytes` makes no more than 256 MiB at once."""
    for begin in range(0, size, PIECE):
        yield chance.randbytes(min(PIECE, size - begin))


def _run(case: Case, env: Mapping[str, str] | None) -> tuple[float, float]:
    if case.prepare:
        case.prepare()
    begin = time.perf_counter()
    process = subprocess.Popen(
        case.command, cwd=case.cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    error = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stderr:
        process.stderr.close()
    if process.returncode != case.exit_code:
        raise SystemExit(f"{case.name}: exit code {process.returncode}, expected {case.exit_code}\n{error[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def load() -> str:
    """Return the machine's load and its processors, for the report."""
    return f"load {' '.join(f'{item:.1f}' for item in os.getloadavg())}, {os.cpu_count()} processors"

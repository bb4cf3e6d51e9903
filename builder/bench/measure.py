"""Takes the samples: round after round, program after program, all subjects in turn, in alternating direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from builder.bench.containers import Sample, Subject
from builder.bench.statistics import Comparison, compare
from builder.bench.suite import Program
from builder.errors import RunError

__all__ = ["Measured", "Take", "Tell", "comparisons", "measure"]

Take = Callable[[Subject, Program], Sample]
Tell = Callable[[int, Program, Subject], None]
"""Is told the round (from 1), the program and the subject before each sample."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one suite."""

    seconds: Mapping[str, Mapping[str, tuple[float, ...]]]
    """By subject and figure, one for each round. Every subject has the same figures."""
    versions: Mapping[str, str]
    failed: Mapping[str, str]
    """Programs that are in no figure because they failed somewhere, and how."""
    absent: Mapping[str, str]
    """Programs that these images cannot have, and why."""


def measure(subjects: Sequence[Subject], programs: Sequence[Program], rounds: int, take: Take, tell: Tell) -> Measured:
    """Take all samples. A program that fails once, in any subject, is not run again and counts for none.

    Raises:
        RunError: when no program is left.
    """
    seconds: dict[str, dict[str, list[float]]] = {subject.name: {} for subject in subjects}
    figures: dict[str, set[str]] = {}
    versions: dict[str, str] = {}
    failed: dict[str, str] = {}
    absent: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for program in programs:
            for subject in subjects if number % 2 else tuple(reversed(subjects)):
                if program.name in failed or program.name in absent:
                    break
                tell(number, program, subject)
                sample = take(subject, program)
                if sample.absent:
                    absent[program.name] = sample.error
                    break
                why = _wrong(sample, figures.setdefault(program.name, set(sample.values)))
                if why:
                    failed[program.name] = f"{subject.name}, round {number}: {why}"
                    break
                versions[subject.name] = sample.version
                for name, value in sample.values.items():
                    seconds[subject.name].setdefault(name, []).append(value)
    whole = {name for program, names in figures.items() if program not in failed for name in names}
    if not whole:
        reasons = "\n".join(f"{name}: {why}" for name, why in {**failed, **absent}.items())
        raise RunError(f"no program could be measured\n{reasons}")
    return Measured(
        seconds={
            subject: {name: tuple(found) for name, found in sorted(table.items()) if name in whole}
            for subject, table in seconds.items()
        },
        versions=versions,
        failed=failed,
        absent=absent,
    )


def _wrong(sample: Sample, figures: set[str]) -> str:
    if sample.error:
        return sample.error
    if not sample.values or set(sample.values) != figures:
        return f"figures {sorted(sample.values)}, and {sorted(figures)} before"
    bad = [name for name, value in sample.values.items() if not (math.isfinite(value) and value > 0)]
    return f"not a time: {bad}" if bad else ""


def comparisons(measured: Measured, reference: str) -> tuple[Comparison, ...]:
    """Return every other subject against the reference."""
    first = (reference, measured.seconds[reference])
    return tuple(compare(first, (name, table)) for name, table in measured.seconds.items() if name != reference)

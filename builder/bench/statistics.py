"""Medians, intervals and verdicts of paired measurements. Pure: without random numbers, equal data say the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median

import msgspec

__all__ = ["COVERAGE", "Comparison", "Interval", "Verdict", "compare", "geometric_mean", "rank_interval", "verdict"]

COVERAGE = 0.95
"""What an interval should cover; with fewer than six rounds none does, and it says what it covers instead."""

Rounds = Mapping[str, Sequence[float]]
"""Seconds by program: one figure for each round, in the order of the rounds."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A median, and between which values the true one lies."""

    low: float
    median: float
    high: float
    coverage: float
    """How probable it is that the interval has the true median, if rounds are independent of each other."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one side is faster, and if that cannot be said, why not."""

    winner: str
    """A subject's name, or empty."""
    reason: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One subject against the reference: above 1, it is faster."""

    reference: str
    subject: str
    overall: Interval
    """Of the rounds' geometric means."""
    programs: Mapping[str, Interval]
    noise: float
    """By which factor a subject's own successive rounds differ, in the median; 1 is no noise at all."""
    verdict: Verdict


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of positive figures.

    Raises:
        ValueError: without any, or with one that is not positive.
    """
    logarithms = [math.log(value) for value in values]
    if not logarithms:
        raise ValueError("no figures")
    return math.exp(fmean(logarithms))


def rank_interval(values: Sequence[float], coverage: float = COVERAGE) -> Interval:
    """Return the median of figures, and the narrowest interval of order statistics that covers it often enough.

    It supposes nothing of how the figures are distributed: each lies above the true median as often as below, so how
    many do is binomial. Where even the whole range covers it less often than wished, that is the interval.

    Raises:
        ValueError: without any figures.
    """
    if not values:
        raise ValueError("no figures")
    ordered, count = sorted(values), len(values)
    best = 0
    for depth in range(1, (count + 1) // 2):
        if _covered(count, depth) < coverage:
            break
        best = depth
    return Interval(
        low=ordered[best], median=median(ordered), high=ordered[count - 1 - best], coverage=_covered(count, best)
    )


def _covered(count: int, depth: int) -> float:
    """Return how often the median lies between the figures number `depth` from below and from above, counted from 0."""
    outside = sum(math.comb(count, k) for k in range(depth + 1)) / float(2**count)
    return max(0.0, 1 - 2 * outside)


def compare(reference: tuple[str, Rounds], subject: tuple[str, Rounds]) -> Comparison:
    """Compare two subjects over the programs that both have, round by round.

    Raises:
        ValueError: when they share no program, or not the same number of rounds.
    """
    (name, first), (other, second) = reference, subject
    shared = [program for program in first if program in second]
    if not shared:
        raise ValueError(f"{name} and {other} have no program in common")
    ratios = {program: _ratios(first[program], second[program]) for program in shared}
    overall = rank_interval([geometric_mean(each) for each in zip(*ratios.values(), strict=True)])
    noise = max(_noise([side[program] for program in shared]) for side in (first, second))
    return Comparison(
        reference=name,
        subject=other,
        overall=overall,
        programs={program: rank_interval(found) for program, found in ratios.items()},
        noise=noise,
        verdict=verdict(overall, noise, reference=name, subject=other),
    )


def _ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(first, second, strict=True)]


def _noise(programs: Sequence[Sequence[float]]) -> float:
    """Return by which factor successive rounds of one subject differ, in the median of all pairs of rounds."""
    rounds = list(zip(*programs, strict=True))
    steps = [abs(fmean(math.log(b / a) for a, b in zip(*pair, strict=True))) for pair in pairwise(rounds)]
    return math.exp(median(steps)) if steps else math.inf


def verdict(overall: Interval, noise: float, *, reference: str, subject: str) -> Verdict:
    """Say who is faster, or why that cannot be said."""
    if overall.coverage < 0.9:
        return Verdict(winner="", reason=f"too few rounds: the interval covers {overall.coverage:.0%}; five give 94%")
    if overall.low <= 1 <= overall.high:
        return Verdict(winner="", reason="the interval has 1 in it")
    size = max(overall.median, 1 / overall.median)
    if size <= noise:
        reason = f"rounds of one and the same side differ by {noise - 1:.1%}, the two sides by {size - 1:.1%}"
        return Verdict(winner="", reason=reason)
    winner = subject if overall.median > 1 else reference
    return Verdict(winner=winner, reason=f"{size - 1:.1%} apart, noise {noise - 1:.1%}")

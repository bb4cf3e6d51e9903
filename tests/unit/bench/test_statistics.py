"""Intervals and verdicts: known values, and that noise never makes a winner."""

from __future__ import annotations

import ast
import math
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.files import REPOSITORY

from builder.bench.statistics import Interval, compare, geometric_mean, rank_interval, verdict

POSITIVE = st.floats(min_value=1e-6, max_value=1e6)


def side(name: str, **programs: list[float]) -> tuple[str, dict[str, list[float]]]:
    return name, programs


@pytest.mark.parametrize(
    ("count", "below", "coverage"),
    [
        # Of n figures, the median lies between the k-th from below and the k-th from above with 1 - 2 P(B(n, 1/2) < k).
        (1, 0, 0.0),
        (2, 0, 0.5),
        (5, 0, 0.9375),
        (6, 0, 0.96875),
        (8, 0, 0.9921875),
        (9, 1, 0.9609375),
        (12, 2, 0.961425781),
        (25, 7, 0.956714),
    ],
)
def test_interval_is_the_textbook_one(count: int, below: int, coverage: float) -> None:
    values = [float(number) for number in range(1, count + 1)]
    found = rank_interval(values[::-1])
    assert (found.low, found.high) == (values[below], values[-1 - below])
    assert found.coverage == pytest.approx(coverage, abs=1e-6)
    assert found.median == median(values)


@given(st.lists(POSITIVE, min_size=1, max_size=40))
def test_interval_has_the_median(values: list[float]) -> None:
    found = rank_interval(values)
    assert found.low <= found.median <= found.high
    assert 0 <= found.coverage <= 1


def test_interval_covers_as_often_as_it_says() -> None:
    generator = random.Random(1)  # noqa: S311
    hits = 0
    for _ in range(2000):
        # Skewed, as times are.
        found = rank_interval([generator.expovariate(1) for _ in range(9)])
        hits += found.low <= math.log(2) <= found.high
    assert hits / 2000 == pytest.approx(0.961, abs=0.015)


def test_geometric_mean() -> None:
    assert geometric_mean([1, 4]) == pytest.approx(2)
    assert geometric_mean([0.5, 2]) == pytest.approx(1)
    with pytest.raises(ValueError, match="no figures"):
        geometric_mean([])
    with pytest.raises(ValueError, match=r"math domain|positive"):
        geometric_mean([0.0])


def test_faster_side_is_named_with_the_ratio() -> None:
    stock = side("stock", chaos=[1.20, 1.21, 1.19, 1.20, 1.22, 1.20], go=[2.4, 2.41, 2.39, 2.4, 2.4, 2.42])
    lto = side("lto", chaos=[1.00, 1.01, 0.99, 1.00, 1.01, 1.00], go=[2.0, 2.01, 1.99, 2.0, 2.01, 2.0])
    found = compare(stock, lto)
    assert found.overall.median == pytest.approx(1.2, abs=0.01)
    assert found.verdict.winner == "lto"
    assert compare(lto, stock).verdict.winner == "lto"
    assert compare(lto, stock).overall.median == pytest.approx(1 / found.overall.median)
    assert found.programs["go"].median == pytest.approx(1.2, abs=0.01)


def test_drift_that_both_sides_share_is_no_difference() -> None:
    # The machine gets slower and slower; each round is fair.
    drift = [1.0, 1.2, 1.5, 1.9, 2.4, 3.0]
    found = compare(side("a", p=drift), side("b", p=[each / 1.1 for each in drift]))
    assert (found.overall.low, found.overall.high) == pytest.approx((1.1, 1.1))
    # But nobody would believe 10 % on a machine whose own figures move by a quarter.
    assert found.verdict.winner == ""
    assert "one and the same side" in found.verdict.reason


def test_interval_with_one_in_it_names_no_winner() -> None:
    found = compare(side("a", p=[1.0, 1.1, 1.0, 0.9, 1.0, 1.0]), side("b", p=[1.0, 1.0, 1.1, 1.0, 0.95, 1.0]))
    assert found.verdict.winner == ""
    assert "1 in it" in found.verdict.reason


@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_too_few_rounds_name_no_winner(rounds: int) -> None:
    found = compare(side("a", p=[2.0] * rounds), side("b", p=[1.0] * rounds))
    assert found.verdict.winner == ""
    assert "too few rounds" in found.verdict.reason


def test_five_rounds_may_name_one() -> None:
    found = verdict(Interval(low=1.1, median=1.2, high=1.3, coverage=0.9375), 1.01, reference="a", subject="b")
    assert found.winner == "b"


def test_the_same_interpreter_twice_seldom_wins() -> None:
    generator = random.Random(2)  # noqa: S311
    winners = 0
    for _ in range(300):
        rounds = [[generator.gauss(1, 0.03) for _ in range(7)] for _ in range(2)]
        winners += bool(compare(side("a", p=rounds[0]), side("b", p=rounds[1])).verdict.winner)
    assert winners <= 15


def test_only_what_both_measured_is_compared() -> None:
    found = compare(side("a", p=[1.0], q=[1.0]), side("b", q=[2.0], r=[1.0]))
    assert list(found.programs) == ["q"]
    with pytest.raises(ValueError, match="in common"):
        compare(side("a", p=[1.0]), side("b", q=[1.0]))


def test_rounds_must_pair() -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        compare(side("a", p=[1.0, 2.0]), side("b", p=[1.0]))


@pytest.mark.parametrize("name", ["statistics", "programs", "report"])
def test_it_is_pure(name: str) -> None:
    tree = ast.parse((REPOSITORY / f"builder/bench/{name}.py").read_text(encoding="utf-8"))
    modules = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert modules <= {"__future__", "math", "itertools", "statistics", "collections", "typing", "msgspec", "builder"}

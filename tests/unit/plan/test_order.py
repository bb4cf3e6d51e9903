"""A stable, lazy topological order, and circles as a path."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import PlanError
from builder.plan.order import in_order

ROWS: list[tuple[str, dict[str, list[str]], str]] = [
    ("nothing", {}, ""),
    ("what is free keeps its order", {"c": [], "a": [], "b": []}, "cab"),
    ("a need comes before", {"a": ["b"], "b": []}, "ba"),
    # c is needed by nobody before b is: it stands just before b, not at the front
    ("lazy: just before the first that needs it", {"a": [], "b": ["c"], "c": []}, "acb"),
    ("a diamond", {"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}, "abcd"),
    ("needs in the order they are named", {"x": ["q", "p"], "p": [], "q": []}, "qpx"),
    ("a need that is no key is an image", {"a": ["scratch"]}, "a"),
]


@pytest.mark.parametrize(("needs", "order"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_order(needs: dict[str, list[str]], order: str) -> None:
    assert "".join(in_order(needs)) == order


@pytest.mark.parametrize(
    ("needs", "path"),
    [
        ({"a": ["a"]}, "a -> a"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "a -> b -> c -> a"),
        # the circle only, not the way to it
        ({"z": ["b"], "b": ["c"], "c": ["b"]}, "b -> c -> b"),
    ],
)
def test_a_circle_is_spelled_as_a_path(needs: dict[str, list[str]], path: str) -> None:
    with pytest.raises(PlanError, match=f"in a circle: {path}$"):
        in_order(needs)


def test_a_long_chain_is_no_trouble() -> None:
    # longer than any recursion could go
    names = [f"n{index:05}" for index in range(3001)]
    chain = dict(zip(names, [[after] for after in names[1:]] + [[]], strict=True))
    assert in_order(chain) == tuple(reversed(names))
    with pytest.raises(PlanError, match=r"in a circle: n00010 -> n00011 -> .* -> n00010$"):
        in_order(chain | {"n03000": ["n00010"]})


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True).flatmap(
        lambda names: st.tuples(
            st.permutations(names),
            # needs point backwards in `names` only: no circle
            st.fixed_dictionaries(
                {
                    name: st.lists(st.sampled_from(names[:index] or ["-"]), unique=True, max_size=3)
                    for index, name in enumerate(names)
                }
            ),
        )
    )
)
def test_order_is_complete_and_sound(drawn: tuple[list[str], dict[str, list[str]]]) -> None:
    order, graph = drawn
    needs = {name: graph[name] for name in order}
    placed = in_order(needs)
    assert sorted(placed) == sorted(needs)
    for position, name in enumerate(placed):
        assert all(need in placed[:position] for need in needs[name] if need in needs)
    # stable: ordering an order changes nothing
    assert in_order({name: needs[name] for name in placed}) == placed

"""Which image is begun next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from builder.fleet.schedule import Stage, order_of


def stages(**seconds: float) -> tuple[Stage, ...]:
    return tuple(Stage(digest=name, seconds=value) for name, value in seconds.items())


def test_what_most_need_comes_first() -> None:
    """The short image has what two others wait for; the long one has nothing for anybody else."""
    images = {
        "long": stages(own=250),
        "first": stages(shared=100, a=1),
        "second": stages(shared=100, b=2),
        "third": stages(shared=100, c=3),
    }
    assert order_of(images)[0] == "third"
    assert order_of(images)[1] == "long"


def test_then_the_longest_leaf() -> None:
    images = {
        "short": stages(shared=50, a=1),
        "longest": stages(shared=50, b=30),
        "middle": stages(shared=50, c=10),
    }
    assert order_of(images) == ("longest", "middle", "short")


def test_equal_ones_keep_their_order() -> None:
    assert order_of({"b": stages(x=1), "a": stages(x=1)}) == ("b", "a")


def test_a_second_shared_stage_counts_only_where_it_is_not_begun() -> None:
    """`lto` brings a Python of its own that another waits for; the rest of `stock` has been begun by then."""
    images = {
        "stock-1": stages(wheel=400, python=100, one=5),
        "stock-2": stages(wheel=400, python=100, two=6),
        "lto-1": stages(wheel=400, lto=200, three=5),
        "lto-2": stages(wheel=400, lto=200, four=6),
    }
    assert order_of(images) == ("lto-2", "stock-2", "stock-1", "lto-1")


def test_no_image_and_no_stage() -> None:
    assert order_of({}) == ()
    assert order_of({"empty": ()}) == ("empty",)


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=3),
        st.dictionaries(st.sampled_from("pqrstuv"), st.floats(0, 1e4), max_size=5),
        max_size=8,
    )
)
def test_each_image_once_whatever_they_are(images: dict[str, dict[str, float]]) -> None:
    found = order_of({name: stages(**each) for name, each in images.items()})
    assert sorted(found) == sorted(images)

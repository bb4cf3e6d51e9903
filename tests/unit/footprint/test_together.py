"""Several images on one disk."""

from __future__ import annotations

import pytest

from builder.footprint.layers import Layer
from builder.footprint.report import amount, shared_rows, together_data, together_notes
from builder.footprint.together import together


def chain(*layers: tuple[str, str, int]) -> tuple[Layer, ...]:
    return tuple(Layer(id=name, stage=stage, size=size, instruction="") for name, stage, size in layers)


BASE, TORCH = ("b", "", 100), ("t", "torch", 1000)
ONE = chain(BASE, TORCH, ("1", "env", 300))
TWO = chain(BASE, TORCH, ("2", "env", 200), ("w", "image", 5))
THREE = chain(BASE, ("x", "torch", 700), ("w", "image", 5))


def test_what_is_shared_is_stored_once() -> None:
    found = together([("one", ONE), ("two", TWO)])
    assert found.sizes == {"one": 1400, "two": 1305}
    assert found.stored == 100 + 1000 + 300 + 200 + 5
    assert found.largest == 1400
    assert found.ratio == pytest.approx(1605 / 1400)
    assert found.own == {"one": 300, "two": 205}
    assert next(iter(shared_rows(found))) == ("all 2", "torch", "1.0 kB")


def test_the_same_layer_on_other_layers_is_stored_again() -> None:
    found = together([("two", TWO), ("three", THREE)])
    assert found.stored == 1305 + 700 + 5
    assert sum(each.bytes for each in found.shared) == found.stored


def test_one_image_is_its_own_size() -> None:
    found = together([("one", ONE)])
    assert (found.stored, found.ratio) == (1400, 1.0)


def test_the_sums_in_words_and_as_data() -> None:
    found = together([("one", ONE), ("two", TWO)])
    assert (
        list(together_notes(found))[-1]
        == "2 images: 2.7 kB if each were alone, 1.6 kB together, 1.15 times the largest"
    )
    assert together_data(found)["ratio"] == 1.1464


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (10**9, "1.00 GB")],
)
def test_amounts_never_round_to_a_thousand(count: int, text: str) -> None:
    assert amount(count) == text

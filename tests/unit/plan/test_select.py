"""What applies: `on` an accelerator, `when` an option has a choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from support.files import texts, toy

from builder.errors import PlanError
from builder.plan.select import choices, chosen
from builder.recipe.load import load
from builder.recipe.types import Model

OPTIONS = (
    "[{name: size, title: S, default: small, choices: {small: {title: a}, large: {title: b}}},"
    " {name: kind, title: K, default: x, choices: {x: {title: a}, y: {title: b}}}]"
)


@dataclass(frozen=True)
class Item:
    name: str
    on: str | None = None
    when: Mapping[str, str] = field(default_factory=dict)


def model(options: str = OPTIONS) -> Model:
    return load(texts(toy(options=options)), {}).models["toy"]


@pytest.mark.parametrize(
    ("item", "applies"),
    [
        # no limit
        (Item("a"), True),
        # limited to this accelerator, and to another one
        (Item("a", on="npu"), True),
        (Item("a", on="cpu"), False),
        # limited to this choice, and to another one
        (Item("a", when={"size": "small"}), True),
        (Item("a", when={"size": "large"}), False),
        # all conditions must hold
        (Item("a", when={"size": "small", "kind": "y"}), False),
        (Item("a", on="npu", when={"size": "small", "kind": "x"}), True),
        (Item("a", on="cpu", when={"size": "small"}), False),
    ],
)
def test_chosen(item: Item, applies: bool) -> None:
    assert chosen([item], "npu", {"size": "small", "kind": "x"}) == ((item,) if applies else ())


def test_order_is_kept() -> None:
    items = [Item("b"), Item("a", on="cpu"), Item("c")]
    assert [item.name for item in chosen(items, "npu", {})] == ["b", "c"]


def test_choices_are_the_defaults_but_for_what_is_wanted() -> None:
    assert choices(model(), {}) == {"size": "small", "kind": "x"}
    assert choices(model(), {"kind": "y"}) == {"size": "small", "kind": "y"}
    assert choices(model("[]"), {}) == {}


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ({"sise": "large"}, "toy has no option 'sise'", "did you mean 'size'?"),
        ({"zzz": "large"}, "toy has no option 'zzz'", "known: kind, size"),
        ({"size": "larg"}, "option 'size' of toy has no choice 'larg'", "did you mean 'large'?"),
    ],
)
def test_unknown(wanted: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        choices(model(), wanted)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (message, hint, 4)

"""Which images are meant where several are asked for at once."""

from __future__ import annotations

import pytest

from builder.errors import PlanError, UsageError
from builder.plan.choose import choose
from builder.recipe.types import Catalog

LAPTOP = "debian-12-cpu"


def test_every_model_on_its_own_platform_stock_and_lto(catalog: Catalog) -> None:
    chosen = choose(catalog)
    assert [(plan.model.name, plan.platform.name, plan.variant) for plan in chosen.plans] == [
        (name, model.platform, variant) for name, model in catalog.models.items() for variant in ("stock", "lto")
    ]
    assert chosen.left_out == {}


def test_what_does_not_exist_is_left_out_and_said(catalog: Catalog) -> None:
    chosen = choose(catalog, platforms=(LAPTOP, "cann-8.0.0"), variants=("stock",))
    own = [name for name, model in catalog.models.items() if model.platform == "cann-8.0.0"]
    there = {(plan.model.name, plan.platform.name) for plan in chosen.plans}
    assert {(name, LAPTOP) for name in catalog.models} <= there
    assert {name for name, platform in there if platform == "cann-8.0.0"} >= set(own)
    assert all(why for why in chosen.left_out.values())
    assert len(there) + len(chosen.left_out) == 2 * len(catalog.models)


def test_named_twice_is_meant_once(catalog: Catalog) -> None:
    plans = choose(
        catalog, models=("tpvformer", "tpvformer"), platforms=(LAPTOP, LAPTOP), variants=("lto", "lto")
    ).plans
    assert [plan.tag for plan in plans] == [f"drivebuild/tpvformer:{LAPTOP}-lto"]


def test_a_pin_goes_where_its_source_is(catalog: Catalog) -> None:
    commit = "a" * 40
    chosen = choose(catalog, platforms=(LAPTOP,), pinned={"panoocc": commit})
    assert {plan.model.name: dict(plan.pinned) for plan in chosen.plans if plan.pinned} == {
        "panoocc": {"panoocc": commit}
    }


def test_a_pin_of_nothing(catalog: Catalog) -> None:
    with pytest.raises(UsageError) as caught:
        choose(catalog, models=("tpvformer",), platforms=(LAPTOP,), pinned={"tpvformr": "a" * 40})
    assert "did you mean 'tpvformer'?" in caught.value.hint


def test_another_architecture(catalog: Catalog) -> None:
    with pytest.raises(PlanError) as caught:
        choose(catalog, models=("tpvformer",), platforms=(LAPTOP,), architecture="riscv64")
    assert "the engine is riscv64" in caught.value.message


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ({"models": ("streampeter",)}, "streampetr"),
        ({"platforms": ("debian-12-gpu",)}, LAPTOP),
        ({"models": ("tpvformer",), "platforms": (LAPTOP,), "variants": ("ltoo",)}, "lto"),
    ],
)
def test_names_that_are_none(catalog: Catalog, words: dict[str, tuple[str, ...]], hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        choose(catalog, **words)
    assert hint in caught.value.hint

"""`--lto`, `--lto=full`, `--pgo=...` and `--variant`: one of them, or several that say the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from builder.cli.main import spelled_out
from builder.cli.options import variant_of
from builder.errors import UsageError
from builder.plan.stage import Plan


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], []),
        (["image", "m", "--lto"], ["image", "m", "--lto=python"]),
        (["image", "--lto", "m"], ["image", "--lto=python", "m"]),
        (["image", "m", "--lto", "--platform", "p"], ["image", "m", "--lto=python", "--platform", "p"]),
        (["image", "m", "--lto=full", "--pgo=use"], ["image", "m", "--lto=full", "--pgo=use"]),
        (["run", "m", "job", "--", "--lto"], ["run", "m", "job", "--", "--lto"]),
        (["run", "m", "--lto", "job", "--", "--lto"], ["run", "m", "--lto=python", "job", "--", "--lto"]),
    ],
)
def test_lto_may_stand_alone(words: list[str], wanted: list[str]) -> None:
    assert spelled_out(words) == wanted


@pytest.mark.parametrize(
    ("variant", "lto", "pgo", "wanted"),
    [
        ("", "", "", "stock"),
        ("stock", "", "", "stock"),
        ("", "python", "", "lto"),
        ("lto", "python", "", "lto"),
        ("", "full", "", "lto-full"),
        ("lto-full", "full", "", "lto-full"),
        ("", "", "instrument", "pgo-instrument"),
        ("", "", "use", "pgo"),
        ("", "full", "use", "pgo"),
        ("pgo", "full", "use", "pgo"),
        ("", "python", "instrument", "pgo-instrument"),
        ("no-such", "", "", "no-such"),
    ],
)
def test_levels_name_a_variant(variant: str, lto: str, pgo: str, wanted: str) -> None:
    assert variant_of(variant, lto=lto, pgo=pgo) == wanted


@pytest.mark.parametrize(
    ("variant", "lto", "pgo", "message"),
    [
        ("stock", "python", "", "--variant stock and --lto contradict each other"),
        ("lto", "full", "", "--variant lto and --lto contradict each other"),
        ("lto-full", "", "use", "--variant lto-full and --pgo contradict each other"),
        ("", "fast", "", "--lto=fast: there is no such level"),
        ("", "", "yes", "--pgo=yes: there is no such level"),
    ],
)
def test_contradictions_are_refused(variant: str, lto: str, pgo: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        variant_of(variant, lto=lto, pgo=pgo)


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("stock", ()),
        ("lto", ("--lto",)),
        ("lto-full", ("--lto=full",)),
        ("pgo-instrument", ("--pgo=instrument",)),
        ("pgo", ("--pgo=use",)),
    ],
)
def test_a_plan_spells_its_variant_as_the_command_line_reads_it(variant: str, words: tuple[str, ...]) -> None:
    named = SimpleNamespace(name="p")
    plan = Plan(
        model=SimpleNamespace(name="m", platform="p"),  # type: ignore[arg-type]
        platform=named,  # type: ignore[arg-type]
        variant=variant,  # type: ignore[arg-type]
        options={},
        stages=(),
    )
    assert plan.arguments == ("m", *words)
    lto = next((word for word in spelled_out(list(words)) if word.startswith("--lto")), "")
    pgo = next((word for word in words if word.startswith("--pgo")), "")
    assert variant_of("", lto=lto.partition("=")[2], pgo=pgo.partition("=")[2]) == variant

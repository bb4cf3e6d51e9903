"""Digests of stages: the same wherever they are made, equal where the instructions are, moved by every input."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from support.dockerfile import parse
from support.files import texts, toy
from support.locks import with_locks

from builder.plan.make import make_plan
from builder.plan.optimise import PROFILE
from builder.plan.stage import Plan, StageSpec
from builder.recipe.load import load
from builder.recipe.types import Bootstrap, Catalog
from builder.render.dockerfile import render_stage
from builder.render.keys import Digester, instructions, recipe_hash, sharers, stage_digests
from builder.render.tree import all_plans

TEMPLATES = {"stages/one.j2": "# says {{ word }}\nFROM {{ base }} AS {{ name }}\nRUN echo {{ said }}\n"}


def planned(files: dict[str, str], **choice: str) -> Plan:
    return make_plan(with_locks(load(texts(files), {})), "toy", **choice)  # type: ignore[arg-type]


def by_hand(*stages: StageSpec) -> Plan:
    return replace(planned(toy()), stages=stages)


def stage(
    name: str, base: str = "scratch", *, uses: tuple[str, ...] = (), word: str = "a", said: str = "a"
) -> StageSpec:
    return StageSpec(name=name, template="one", base=base, uses=uses, inputs={"word": word, "said": said})


def moved(before: Plan, after: Plan, templates: dict[str, str]) -> set[str]:
    old, new = stage_digests(before, templates), stage_digests(after, templates)
    return {name for name in {*old, *new} if old.get(name) != new.get(name)}


# --- the digest itself -----------------------------------------------------------------------------


def test_a_digest_is_the_same_on_every_machine_and_in_every_process() -> None:
    """Written down once: a hash that Python salts, or an order that it does not promise, would differ here."""
    found = stage_digests(by_hand(stage("base"), stage("image", "base", uses=("base",))), TEMPLATES)
    assert dict(found) == {
        "base": "421f3d95b0c9b21c7a9e8cf844014db660af19147b5b98499433c3b78c07e2bc",
        "image": "fb1965aa3e708a546bf35bca8f91e2342570e17043c1d39478c857216ba5ff0b",
    }


def test_comments_and_blank_lines_are_no_input() -> None:
    plain, reworded = by_hand(stage("image")), by_hand(stage("image", word="something else"))
    assert moved(plain, reworded, TEMPLATES) == set()
    spaced = {"stages/one.j2": TEMPLATES["stages/one.j2"].replace("RUN", "\n\n  # and why\nRUN")}
    assert recipe_hash(plain, TEMPLATES) == recipe_hash(plain, spaced)


def test_what_a_heredoc_holds_is_an_input() -> None:
    text = "FROM a\n# gone\nCOPY <<'EOF' /x\n# stays\n\n  EOF\nEOF\n# gone\nRUN true\n"
    assert instructions(text) == "FROM a\nCOPY <<'EOF' /x\n# stays\n\n  EOF\nEOF\nRUN true"
    two = "COPY <<A <<-B /d/\n# 1\nA\n# 2\n\tB\n# gone"
    assert instructions(two) == "COPY <<A <<-B /d/\n# 1\nA\n# 2\n\tB"


def test_a_comment_between_continued_lines_is_dropped_and_one_in_the_shell_is_not() -> None:
    assert instructions("RUN a; \\\n    # why\n    b # kept") == "RUN a; \\\n    b # kept"


def test_what_only_looks_like_a_heredoc_is_kept() -> None:
    assert instructions("RUN echo $((1 <<two))\n# not known to be a comment") == (
        "RUN echo $((1 <<two))\n# not known to be a comment"
    )


def test_only_comments_are_left_out_of_the_shipped_files(catalog: Catalog, templates: dict[str, str]) -> None:
    for plan in all_plans(catalog):
        for each in plan.stages:
            text = render_stage(each, templates)
            kept = parse(instructions(text))
            assert [(item.kind, item.text, item.heredocs) for item in kept] == [
                (item.kind, item.text, item.heredocs) for item in parse(text)
            ]


# --- sharing ---------------------------------------------------------------------------------------


def test_equal_digests_mean_equal_instructions_all_the_way_down(catalog: Catalog, templates: dict[str, str]) -> None:
    digester = Digester(templates)
    seen: dict[str, tuple[str, frozenset[str]]] = {}
    known: dict[tuple[str, frozenset[str]], str] = {}
    for plan in all_plans(catalog):
        found = digester.digests(plan)
        for each in plan.stages:
            closure = plan.closure(each.name)
            text = frozenset(
                instructions(render_stage(item, templates)) for item in plan.stages if item.name in closure
            )
            whole = (each.name, text)
            assert seen.setdefault(found[each.name], whole) == whole
            assert known.setdefault(whole, found[each.name]) == found[each.name]


def test_one_digester_says_what_many_say(catalog: Catalog, templates: dict[str, str]) -> None:
    digester = Digester(templates)
    plans = [make_plan(catalog, name, platform="debian-12-cpu") for name in catalog.models]
    assert [digester.digests(plan) for plan in plans] == [stage_digests(plan, templates) for plan in plans]


def test_sharers_go_by_the_digest(catalog: Catalog, templates: dict[str, str]) -> None:
    plans = [make_plan(catalog, name, platform="debian-12-cpu") for name in catalog.models]
    found = sharers(plans[0], plans, templates)
    assert found["mmcv"] == tuple(plan.model.name for plan in plans[1:])
    assert found["image"] == ()


# --- what moves it ---------------------------------------------------------------------------------

PINNED = "f" * 40
EDIT = "{do: edit, file: f, find: a, replace: %s}"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(
            toy(),
            toy() | {"sources.yaml": toy()["sources.yaml"].replace("b" * 40, PINNED)},
            {"src-ops", "ops", "env", "manifest", "image"},
            id="a pin",
        ),
        pytest.param(
            toy(tree=f"{{source: toy-source, directory: T, steps: [{EDIT % 'b'}]}}"),
            toy(tree=f"{{source: toy-source, directory: T, steps: [{EDIT % 'c'}]}}"),
            {"tree", "manifest", "image"},
            id="an edit",
        ),
        pytest.param(
            toy(tree=f"{{source: toy-source, directory: T, steps: [{(EDIT % 'b')[:-1]}, note: one}}]}}"),
            toy(tree=f"{{source: toy-source, directory: T, steps: [{(EDIT % 'b')[:-1]}, note: two}}]}}"),
            set(),
            id="a note",
        ),
    ],
)
def test_what_a_change_of_a_recipe_moves(
    before: dict[str, str], after: dict[str, str], expected: set[str], templates: dict[str, str]
) -> None:
    assert moved(planned(before), planned(after), templates) == expected


def test_a_template_and_a_script_move_what_they_make(templates: dict[str, str]) -> None:
    plan = planned(toy())
    before = stage_digests(plan, templates)
    for path, added, least in (
        ("stages/tree.j2", "\nRUN true", {"tree", "image"}),
        ("scripts/entrypoint.sh", "\n# a comment of the script is in the image", {"env", "image"}),
    ):
        after = stage_digests(plan, {**templates, path: templates[path] + added})
        assert {name for name in before if before[name] != after[name]} == least, path


def test_what_the_text_does_not_say_counts_too(templates: dict[str, str]) -> None:
    plan = planned(toy())
    base = msgspec.structs.replace(plan.platform.base, bootstrap=Bootstrap(suite="bookworm", include=("ca",)))
    other = msgspec.structs.replace(base, bootstrap=Bootstrap(suite="trixie", include=("ca",)))
    first, second = (
        replace(plan, platform=msgspec.structs.replace(plan.platform, base=item)) for item in (base, other)
    )
    assert {"base", "image"} <= moved(first, second, templates)
    profiled = replace(by_hand(stage(PROFILE), stage("image", uses=(PROFILE,))), profile="a" * 64)
    assert moved(profiled, replace(profiled, profile="b" * 64), TEMPLATES) == {PROFILE, "image"}

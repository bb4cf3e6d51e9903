"""What differs between two plans, in words: one case for each kind, and nothing that differs goes unnamed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from builder.plan.changes import plan_changes, short


@dataclass(frozen=True)
class Stage:
    template: str
    base: str = "base"
    inputs: Mapping[str, Any] = field(default_factory=dict)


def said(old: Stage, new: Stage) -> list[str]:
    return [change.text for change in plan_changes({"x": old}, {"x": new})]


EDIT = {"do": "edit", "file": "a.py", "find": "one", "replace": "two", "count": 1, "note": "N1"}
PATCH = {"do": "patch", "file": "/sources/src-a/b.patch", "tree": "."}


@pytest.mark.parametrize(
    ("template", "key", "old", "new", "texts"),
    [
        ("source-git", "commit", "a" * 40, "b" * 40, ["pin of x: aaaaaaa → bbbbbbb"]),
        ("source-git", "url", "https://a/b.git", "https://c/b.git", ["url of source x: https://a/b.git → https://c/b.git"]),
        ("source-git", "ref", "tag 1", "tag 2", []),
        ("source-archive", "sha256", "1" * 64, "2" * 64, ["sha256 of source x: 111111111111 → 222222222222"]),
        ("wheel", "environment", {"A": "1"}, {"A": "2", "B": "3"}, ["flag of x A: 1 → 2", "flag of x B: nothing → 3"]),
        ("wheel", "version", "1.0", "1.1", ["version of x: 1.0 → 1.1"]),
        ("wheel", "cc", "gcc", "clang", ["x: cc: gcc → clang"]),
        ("wheel", "optimise", {"level": ""}, {"level": "use"}, ["x: optimise, level: nothing → use"]),
        ("base", "packages", ["a", "b"], ["b", "c"], ["packages of x: +c −a"]),
        ("base", "packages", ["a", "b"], ["b", "a"], ["packages of x: in another order"]),
        ("tree", "steps", [EDIT], [{**EDIT, "replace": "three"}], ["x: edit of a.py, replace: two → three"]),
        ("tree", "steps", [EDIT], [{**EDIT, "note": "N2"}], []),
        ("tree", "steps", [EDIT], [EDIT, PATCH], ["x: + patch src-a/b.patch"]),
        ("tree", "steps", [EDIT, PATCH], [PATCH], ["x: − edit a.py: one → two"]),
        ("tree", "steps", [EDIT], [PATCH], ["x: − edit a.py: one → two", "x: + patch src-a/b.patch"]),
        ("tree", "title", "one", "two", []),
        ("env", "nobody-knew", None, [], []),
        ("env", "nobody-knew", [], ["a", "b==1 --hash=sha256:2"], ["x: nobody-knew: +a +b==1"]),
        ("env", "nobody-knew", [{"stage": "wheel-a", "b": 1}, {"c": 2}], None, ['x: nobody-knew: −wheel-a −{"c": 2}']),
        ("env", "requirements", ["a==1 --hash=sha256:1"], ["a==2 --hash=sha256:2"], ["lock: a: 1 → 2"]),
        ("env", "requirements", ["a==1 --hash=1"], ["a==1 --hash=2"], ["lock: a 1: other files, by their hashes"]),
        ("env", "requirements", ["a==1 x"], ["a==1 x", "b==2 x"], ["lock: b: nothing → 2"]),
        ("image", "jobs", '{"jobs": [{"name": "t", "batch": 2}]}', '{"jobs": [{"name": "t", "batch": 4}]}',
         ["jobs, jobs, t, batch: 2 → 4"]),
        ("image", "nobody-knows", [1, {"a": 2}], [1, {"a": 3}], ['x: nobody-knows: [1, {"a": 2}] → [1, {"a": 3}]']),
        ("image", "refused", "no json {", "neither", ["x: refused: no json { → neither"]),
    ],
)  # fmt: skip
def test_each_kind_of_input(template: str, key: str, old: object, new: object, texts: list[str]) -> None:
    kept = {"other": "same"}
    assert said(Stage(template, inputs={**kept, key: old}), Stage(template, inputs={**kept, key: new})) == texts


def test_bases_templates_and_stages() -> None:
    digests = [f"registry.example/cann:1@sha256:{digit * 64}" for digit in "12"]
    assert said(Stage("base", digests[0]), Stage("base", digests[1])) == [
        "digest of base image registry.example/cann:1: 111111111111 → 222222222222"
    ]
    assert said(Stage("env", "torch"), Stage("env", "common")) == ["stage x starts from: torch → common"]
    assert said(Stage("wheel"), Stage("pytorch")) == ["stage x: wheel → pytorch"]
    gone = plan_changes({"a": Stage("tools")}, {"b": Stage("tools")})
    assert [change.text for change in gone] == ["stage b is new", "stage a is gone"]


def test_what_only_repeats_another_change_is_marked() -> None:
    labels = [{"drivebuild.source.a": f"git:{digit}"} for digit in "12"]
    old, new = (Stage("image", inputs={"labels": each}) for each in labels)
    (change,) = plan_changes({"image": old}, {"image": new})
    assert (change.kind, change.follows) == ("label", True)
    old, new = (Stage("manifest", inputs={"plan": f'{{"a": {digit}}}'}) for digit in "12")
    (change,) = plan_changes({"manifest": old}, {"manifest": new})
    assert (change.text, change.follows) == ("manifest, a: 1 → 2", True)


def test_values_for_one_line() -> None:
    assert [short(value) for value in (None, "", True, 0, "a\nb", "x" * 100, "sha256:" + "a" * 64, ["a"])] == [
        "nothing",
        "nothing",
        "yes",
        "0",
        "a b",
        "x" * 59 + "…",
        "a" * 12,
        '["a"]',
    ]

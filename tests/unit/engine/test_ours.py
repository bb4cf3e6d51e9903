"""Which images go: drivebuild's alone, by evidence, and what that frees."""

from __future__ import annotations

import pytest

from builder.engine.ours import Held, Wish, chained, choose, evidence_of, freed_bytes, held_of

LABELS = {"drivebuild.model": "toy", "drivebuild.platform": "plat", "drivebuild.variant": "stock"}
OWN = "LABEL drivebuild.model=toy drivebuild.platform=plat"
TAG = "drivebuild/toy:plat-stock"
OLD = Wish(before=100.0)


def held(
    name: str,
    *tags: str,
    labels: dict[str, str] | None = None,
    when: float = 1.0,
    newest: str = "",
    layers: tuple[str, ...] = (),
    size: int = 10,
) -> Held:
    chain = chained(layers or (f"layer of {name}",), [size] * max(len(layers), 1))
    return Held(id=name, tags=tags, labels=labels or {}, when=when, newest=newest, layers=chain)


def gone(
    *images: Held, wish: Wish = OLD, recorded: dict[str, set[str]] | None = None, used: dict[str, str] | None = None
):
    choice = choose(images, wish, recorded=recorded or {}, used=used or {})
    assert {each.image.id for each in choice.gone}.isdisjoint(each.image.id for each in choice.kept)
    return {each.image.id for each in choice.gone}


@pytest.mark.parametrize(
    ("image", "evidence"),
    [
        (held("a", TAG), "name"),
        (held("a", labels=LABELS, newest=OWN), "label"),
        (held("a", "registry.example/team/toy:1", labels=LABELS, newest=OWN), "label"),
        (held("a", "localhost/drivebuild/base:debian-12"), "base"),
        (held("a", labels={"drivebuild.bootstrap": "0"}), "base"),
        (held("a", labels={"drivebuild.bootstrap": "0"}, layers=("root", "more")), None),
        (held("a", labels={"drivebuild.bootstrap": "0"}, newest="COPY x /"), None),
        (held("recorded"), "record"),
        # Somebody's own, built FROM one of drivebuild's: it inherits the labels, and its last instruction is another.
        (held("a", "mine:1", labels=LABELS, newest="RUN /bin/sh -c pip install x"), None),
        (held("a", "mine:1", labels={**LABELS, "team": "x"}, newest="LABEL team=x"), None),
        (held("a"), None),
        (held("a", "debian:12"), None),
        (held("a", "notdrivebuild/toy:1"), None),
    ],
)
def test_what_says_that_drivebuild_made_it(image: Held, evidence: str | None) -> None:
    assert evidence_of(image, {"recorded": {TAG}}) == evidence


def test_what_a_newer_build_replaced_goes_and_the_newest_stays() -> None:
    now, before = held("new", TAG, labels=LABELS), held("old", labels=LABELS, newest=OWN)
    assert gone(now, before) == {"old"}


def test_an_image_that_lost_its_name_to_another_kind_goes_as_well() -> None:
    assert gone(held("lost", labels={"drivebuild.recipe": "0123"}, newest="LABEL drivebuild.recipe=0123")) == {"lost"}


def test_of_images_with_names_none_goes_unless_it_is_asked_for() -> None:
    pair = (held("a", TAG, labels=LABELS), held("b", "drivebuild/toy:plat-lto"))
    assert gone(*pair) == set()
    assert gone(*pair, wish=Wish(before=100.0, keep=0)) == {"a", "b"}


def test_what_is_young_in_use_or_named_by_somebody_stays() -> None:
    one = {"labels": LABELS, "newest": OWN}
    images = (
        held("new", TAG, labels=LABELS),
        held("young", when=200.0, **one),  # type: ignore[arg-type]
        held("used", **one),  # type: ignore[arg-type]
        held("theirs", "team/toy:golden", **one),  # type: ignore[arg-type]
        held("old", **one),  # type: ignore[arg-type]
    )
    assert gone(*images, used={"used": "sleepy_hopper"}) == {"old"}
    assert gone(*images, wish=Wish(before=100.0, keep=0), used={"used": "sleepy_hopper"}) == {"new", "old"}


def test_names_that_builds_gave_are_nobody_elses() -> None:
    image = held("a", "team/x:1", "team/y:1")
    wish = Wish(before=100.0, keep=0)
    assert gone(image, wish=wish, recorded={"a": {"team/x:1", "team/y:1"}}) == {"a"}
    assert gone(image, wish=wish, recorded={"a": {"team/x:1"}}) == set()


def test_a_base_goes_only_when_asked_and_nothing_stands_on_it() -> None:
    base = held("base", "localhost/drivebuild/base:debian-12", layers=("root",))
    upon = held("upon", "team/own:1", layers=("root", "more"))
    assert gone(base, wish=Wish(before=100.0, keep=0)) == set()
    assert gone(base, wish=Wish(before=100.0, bases=True)) == {"base"}
    assert gone(base, upon, wish=Wish(before=100.0, keep=0, bases=True)) == set()
    assert gone(base, wish=Wish(before=100.0, bases=True), used={"base": "x"}) == set()


def test_shared_layers_are_counted_once_and_what_others_have_is_not_freed() -> None:
    a = held("a", layers=("root", "torch", "a"))
    b = held("b", layers=("root", "torch", "b"))
    other = held("c", layers=("root",))
    assert freed_bytes((a,), (a, b, other)) == 10
    assert freed_bytes((a, b), (a, b, other)) == 30
    assert freed_bytes((a, b, other), (a, b, other)) == 40


def test_equal_files_upon_other_layers_are_stored_twice() -> None:
    a, b = held("a", layers=("root", "same")), held("b", layers=("other", "same"))
    assert freed_bytes((a,), (a, b)) == 20


def test_an_engines_answer_is_read() -> None:
    found = {
        "Id": "sha256:1",
        "RepoTags": ["<none>:<none>", TAG],
        "Config": {"Labels": None},
        "RootFS": {"Layers": ["x", "y"]},
    }
    image = held_of(found, [{"CreatedBy": OWN}, {"CreatedBy": None}], (3, 4), 5.0)
    assert (image.tags, image.newest, [size for _, size in image.layers]) == ((TAG,), OWN, [3, 4])

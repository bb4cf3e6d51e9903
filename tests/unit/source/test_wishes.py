"""From needs to questions: which addresses could serve a thing, and what a table says when they do not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from builder.plan.needs import DebianNeed, GitNeed, ImageNeed, Need, PackageNeed
from builder.recipe.types import Bootstrap, Catalog, System
from builder.source.network import Network
from builder.source.wishes import Answer, Question, Wish, rows, wishes

GOOD, BAD, UNASKED = (
    Answer(good=True, text="answers"),
    Answer(good=False, text="no"),
    Answer(good=None, text="not asked"),
)


@dataclass
class Site:
    needs: tuple[Need, ...]
    system: System
    architecture: str = "aarch64"


def package(name: str) -> PackageNeed:
    return PackageNeed(stage="packages-model", name=name, version="1", sha256="a", python="3.8", architecture="aarch64")


def image(name: str) -> ImageNeed:
    return ImageNeed(image=name, digest=None, bootstrap=None, architecture="aarch64")


def asked(site: Site, network: Network) -> list[tuple[str, str, str]]:
    found = wishes([site], network)
    return [(question.kind, question.host, question.address) for wish in found for question in wish.questions]


@pytest.mark.parametrize(
    ("system", "distribution", "wanted"),
    [
        ("openeuler-22.03", {}, ("packages", "those of openeuler-22.03's image", "")),
        (
            "openeuler-22.03",
            {"openeuler": "http://m.example/oe/"},
            ("packages", "m.example", "http://m.example/oe/OS/aarch64/repodata/repomd.xml"),
        ),
        (
            "ubuntu-22.04",
            {"ubuntu": "http://m.example/ubuntu"},
            ("packages", "m.example", "http://m.example/ubuntu/dists/jammy/InRelease"),
        ),
    ],
)
def test_packages_of_a_published_image(
    catalog: Catalog, system: str, distribution: dict[str, str], wanted: tuple[str, str, str]
) -> None:
    site = Site((image("quay.io/ascend/cann:8"),), catalog.systems[system])
    assert asked(site, Network(distribution=distribution))[1] == wanted


def test_the_registry_that_is_asked_is_the_mirror(catalog: Catalog) -> None:
    site = Site((image("quay.io/ascend/cann:8"), image("ubuntu:22.04")), catalog.systems["ubuntu-22.04"])
    found = asked(site, Network(registries={"quay.io": "registry.example:5000/quay"}))
    assert found[0] == ("registry", "registry.example:5000", "registry.example:5000/quay/ascend/cann:8")
    assert found[1] == ("registry", "docker.io", "ubuntu:22.04")


def test_one_question_for_all_packages_and_one_for_a_suite(catalog: Catalog) -> None:
    bootstrap = Bootstrap(suite="bookworm", include=())
    needs: tuple[Need, ...] = (
        ImageNeed(image="localhost/base", digest=None, bootstrap=bootstrap, architecture="aarch64"),
        DebianNeed(stage="src-py", name="py", package="python3.11", suite="bookworm", file="f", sha256="b"),
        *map(package, ("torch", "six", "numpy")),
    )
    found = wishes([Site(needs, catalog.systems["debian-12"])] * 2, Network())
    assert [question.address for wish in found for question in wish.questions].count("bookworm") == 1
    index = [question for wish in found for question in wish.questions if question.kind == "index"]
    assert index == [Question(kind="index", host="package index", address="six==1", python="3.8")]


def test_a_repository_on_disk_is_one_place(catalog: Catalog) -> None:
    need = GitNeed(stage="src-a", name="a", url="https://github.com/a/b.git", commit="c" * 40)
    network = Network(mirrors=(("https://github.com/", ("file:///srv/git",)),), upstream=False)
    places = [item for item in asked(Site((need,), catalog.systems["debian-12"]), network) if item[0] == "git"]
    assert len(places) == 1
    assert places[0][1:] in (("this machine", "file:///srv/git/a/b.git"), ("this machine", "file:///srv/git/a/b"))


def question(host: str, address: str = "x") -> Question:
    return Question(kind="git", host=host, address=address)


ONE, TWO = question("one"), question("two")


@pytest.mark.parametrize(
    ("first", "second", "states"),
    [
        (GOOD, GOOD, {"one": "ok", "two": "ok"}),
        (BAD, GOOD, {"one": "warn", "two": "ok"}),
        (GOOD, BAD, {"one": "ok", "two": "warn"}),
        (BAD, BAD, {"one": "FAIL", "two": "FAIL"}),
        (BAD, UNASKED, {"one": "warn", "two": "warn"}),
    ],
)
def test_a_host_fails_where_nobody_else_serves_it(first: Answer, second: Answer, states: dict[str, str]) -> None:
    wish = Wish(name="ops", questions=(ONE, TWO))
    assert {row.host: row.state for row in rows([wish], {ONE: first, TWO: second})} == states


def test_what_is_not_required_only_warns() -> None:
    assert rows([Wish(name="w", questions=(ONE,), required=False)], {ONE: BAD})[0].state == "warn"


def test_a_row_names_who_must_go_without() -> None:
    lost, served, sound = question("one", "lost"), question("one", "served"), question("one", "sound")
    wanted = [
        Wish(name="lost", questions=(lost,)),
        Wish(name="served", questions=(served, TWO)),
        Wish(name="sound", questions=(sound,)),
    ]
    row = rows(wanted, {lost: BAD, served: BAD, sound: GOOD, TWO: GOOD})[0]
    assert (row.state, row.names, row.answer) == ("FAIL", ("lost",), "1 of 3: no")

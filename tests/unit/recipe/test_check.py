"""Rules between files: every name that is used exists, nothing is said twice, and nothing goes in a circle."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.files import COMPONENT, PLATFORM, SOURCES, SYSTEM, model, texts, toy

from builder.errors import RecipeError
from builder.recipe.check import cycle
from builder.recipe.load import load

OPTIONS = "[{name: o, title: O, default: a, choices: {a: {title: A}, b: {title: B}}}]"
TREE = "{source: toy-source, directory: Tree, steps: [%s]}"


def platform(old: str, new: str) -> dict[str, str]:
    assert old in PLATFORM
    return toy() | {"platforms/plat.yaml": PLATFORM.replace(old, new)}


def component(old: str, new: str) -> dict[str, str]:
    assert old in COMPONENT
    return toy() | {"components/ops.yaml": COMPONENT.replace(old, new)}


def system(more: str) -> dict[str, str]:
    return toy() | {"systems/sys.yaml": f"{SYSTEM}{more}\n"}


def second(name: str, needs: str) -> dict[str, str]:
    text = COMPONENT.replace("name: ops", f"name: {name}").replace("package: ops", f"package: {name}")
    return {f"components/{name}.yaml": text + f"needs: {needs}\n"}


ROWS: list[tuple[str, dict[str, str], str]] = [
    # the rule, the files, the message with its hint
    (
        "platform's system",
        platform("system: sys", "system: sis"),
        "platforms/plat.yaml:4:9: system: unknown system 'sis' (did you mean 'sys'?)",
    ),
    (
        "an allocator's package without its library",
        system("jemalloc: [libjemalloc2]"),
        "jemalloc_library: the package has a library, and no path says where",
    ),
    ("a way that is named twice", system("tcmalloc_ways: [git, release, git]"), "'git' is there twice"),
    (
        "a package that is not named",
        system("tcmalloc_ways: [package]"),
        "tcmalloc_ways.0: no package is named (name it with `tcmalloc:`)",
    ),
    ("no such way", system("tcmalloc_ways: [tarball]"), "tarball"),
    (
        "platform's way",
        platform("pins: []", "pins: []\ntcmalloc: release"),
        "tcmalloc: sys has no 'release'",
    ),
    (
        "a way of what is no tcmalloc",
        component('{"1.0": {', '{"1.0": {ways: {git: toy-source}, '),
        "versions.1.0.ways.git: only tcmalloc comes in ways",
    ),
    (
        "an option whose name is taken",
        toy(options="[{name: tcmalloc, title: O, default: a, choices: {a: {title: A}}}]", tcmalloc="true"),
        "options.0.name: 'tcmalloc' is an option of every model with `tcmalloc: true`",
    ),
    (
        "platform's python source",
        platform("source: py,", "source: pyy,"),
        "python.source: unknown source 'pyy' (did you mean 'py'?)",
    ),
    ("platform's wheels", platform("pins: []", "pins: []\nwheels: {x86_64: [torhc]}"), "unknown source 'torhc'"),
    (
        "common as pip writes it",
        platform("[tqdm]", "[Shapely]"),
        "common[0]: expected a Python distribution's name as locks have it",
    ),
    (
        "common twice",
        platform("[tqdm]", "[tqdm, scipy, tqdm]"),
        "common.2: 'tqdm' is there twice",
    ),
    (
        "platform's locks",
        platform("pins: []", "pins: []\nlocks: plta"),
        "unknown platform 'plta' (did you mean 'plat'?)",
    ),
    (
        "variant without compiler",
        platform("{stock: gcc, lto: gcc}", "{stock: gcc}"),
        "python.compiler: no compiler for the variant 'lto'",
    ),
    (
        "compiler without toolchain",
        platform("lto: gcc", "lto: clang"),
        "python.compiler.lto: unknown toolchain 'clang' (known: gcc)",
    ),
    ("no stock", platform("pins: []", "pins: []\nvariants: [lto]"), "variants: 'stock' is missing"),
    ("Python from git", platform("source: py,", "source: ops,"), "python.source: 'ops' is a git source"),
    ("a wheel from git", platform("pins: []", "pins: []\nwheels: {x86_64: [ops]}"), "'ops' is no archive source"),
    (
        "an option in a component",
        component(
            '"1.0": {npu: ops}', '"1.0": {npu: ops, steps: [{do: edit, file: f, find: a, replace: b, when: {o: a}}]}'
        ),
        "options belong to a model, a component has none",
    ),
    ("a tree from an archive", toy(tree="{source: py, directory: T}"), "tree.source: 'py' is no git source"),
    ("a patch from an archive", toy(tree=TREE % "{do: patch, source: py, path: p}"), "'py' is no git source"),
    (
        "a component's copy from nowhere",
        toy(components='[{name: ops, version: "1.0", steps: [{do: copy, path: a, to: b}]}]'),
        "components.0.steps.0: the key 'source' is missing",
    ),
    ("NPU without CANN", platform(PLATFORM.split("\n")[6], ""), "cann: a platform for NPUs names its CANN release"),
    (
        "image without digest and reason",
        platform(", note: not looked up", ""),
        "base: a base image without digest says in its note why",
    ),
    (
        "component's need",
        toy() | {"components/ops.yaml": COMPONENT + "needs: [torhc]\n"},
        "unknown component 'torhc' (did you mean 'torch'?)",
    ),
    ("component's source", component('"1.0": {npu: ops}', '"1.0": {npu: opps}'), "unknown source 'opps'"),
    ("component's cpu source", component('"1.0": {npu: ops}', '"1.0": {cpu: opps}'), "unknown source 'opps'"),
    (
        "component's patch",
        component('"1.0": {npu: ops}', '"1.0": {npu: ops, steps: [{do: patch, source: x, path: p}]}'),
        "unknown source 'x'",
    ),
    ("component that needs itself", toy() | {"components/ops.yaml": COMPONENT + "needs: [ops]\n"}, "ops -> ops"),
    (
        "two components in a circle",
        toy() | {"components/ops.yaml": COMPONENT + "needs: [two]\n"} | second("two", "[ops]"),
        "components need each other in a circle: ops -> two -> ops",
    ),
    ("model's platform", toy(platform="plta"), "platform: unknown platform 'plta' (did you mean 'plat'?)"),
    (
        "model's readme",
        toy(readme=f"{{commit: {'d' * 40}, source: sdc, path: R}}"),
        "unknown source 'sdc' (did you mean",
    ),
    ("model's tree", toy(tree="{source: toy-sorce, directory: T}"), "did you mean 'toy-source'?"),
    ("model's patch", toy(tree=TREE % "{do: patch, source: x, path: p}"), "tree.steps.0: unknown source 'x'"),
    ("model's copy", toy(tree=TREE % "{do: copy, source: x, path: p, to: q}"), "unknown source 'x'"),
    (
        "model's component",
        toy(components='[{name: osp, version: "1.0"}]'),
        "unknown component 'osp' (did you mean 'ops'?)",
    ),
    ("component's version", toy(components='[{name: ops, version: "3.0"}]'), "unknown version of ops '3.0'"),
    ("component's own source", toy(components='[{name: ops, version: "1.0", source: opps}]'), "unknown source 'opps'"),
    ("overlay of nothing", toy(overlays="[{component: osp, steps: []}]"), "unknown component of this model 'osp'"),
    ("option's default", toy(options=OPTIONS.replace("default: a", "default: c")), "unknown choice 'c'"),
    (
        "option that does not exist",
        toy(tree=TREE % "{do: edit, file: f, find: a, replace: b, when: {p: a}}"),
        "unknown option 'p'",
    ),
    (
        "choice that does not exist",
        toy(options=OPTIONS, tree=TREE % "{do: edit, file: f, find: a, replace: b, when: {o: x}}"),
        "unknown choice 'x'",
    ),
    ("option twice", toy(options=OPTIONS[:-1] + ", " + OPTIONS[1:]), "options.1.name: 'o' is there twice"),
    (
        "job twice",
        toy(jobs="[{name: t, title: T, command: [a]}, {name: t, title: T, command: [b]}]"),
        "jobs.1.name: 't' is there twice (keep them apart with `on` or `when`)",
    ),
    (
        "component twice",
        toy(components='[{name: ops, version: "1.0"}, {name: ops, version: "2.0"}]'),
        "components.1.name: 'ops' is there twice",
    ),
    (
        "twice on one accelerator",
        toy(components='[{name: ops, version: "1.0", on: npu}, {name: ops, version: "2.0"}]'),
        "components.1.name: 'ops' is there twice",
    ),
    (
        "success that is no pattern",
        toy(jobs="[{name: t, title: T, command: [a], success: '(x'}]"),
        "jobs.0.success: not a regular expression",
    ),
    (
        "edit that changes nothing",
        toy(tree=TREE % "{do: edit, file: f, find: a, replace: a}"),
        "replaces a text by itself",
    ),
    ("conflicts of no platform", toy(requirements="{packages: [], conflicts: {plta: [x]}}"), "unknown platform 'plta'"),
    (
        "one source, two contents",
        toy(
            sources=f'{{toy-source: {{type: git, url: "https://example.org/toy.git", commit: {"e" * 40}}}, '
            f'ops: {{type: git, url: "https://example.org/x.git", commit: {"e" * 40}}}}}'
        ),
        "sources.ops: differs from the source of that name in sources.yaml",
    ),
]


@pytest.mark.parametrize(("files", "message"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_rule(files: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(texts(files), {})
    flat = caught.value.message
    assert message in flat
    assert caught.value.hint.startswith("1 mistake in 1 file"), flat


FINE: list[tuple[str, dict[str, str]]] = [
    (
        "two jobs kept apart by `on`",
        toy(jobs="[{name: t, title: T, command: [a], on: npu}, {name: t, title: T, command: [b], on: cpu}]"),
    ),
    (
        "two jobs kept apart by `when`",
        toy(
            options=OPTIONS,
            jobs="[{name: t, title: T, command: [a], when: {o: a}}, {name: t, title: T, command: [b], when: {o: b}}]",
        ),
    ),
    (
        "two components kept apart by `on`",
        toy(components='[{name: ops, version: "1.0", on: npu}, {name: ops, version: "2.0", on: cpu}]'),
    ),
    (
        "the same source said twice",
        toy()
        | {
            "models/toy2.yaml": model(
                "toy2",
                sources=f'{{toy2-source: {{type: git, url: "https://example.org/toy.git", commit: {"e" * 40}}}, '
                f'toy-source: {{type: git, url: "https://example.org/toy.git", commit: {"e" * 40}}}}}',
            )
        },
    ),
    ("a component without needs", toy() | {"components/ops.yaml": COMPONENT + "needs: []\n"}),
    ("a copy from the model's own tree", toy(tree=TREE % "{do: copy, path: p, to: q}")),
    ("a platform for CPUs without CANN", platform("accelerator: npu", "accelerator: cpu")),
]


@pytest.mark.parametrize("files", [row[1] for row in FINE], ids=[row[0] for row in FINE])
def test_fine(files: dict[str, str]) -> None:
    assert load(texts(files), {}).models


def test_the_place_of_a_mistake_is_the_value() -> None:
    files = toy(jobs="[{name: t, title: T, command: [a]},\n       {name: t, title: T, command: [b]}]")
    with pytest.raises(RecipeError) as caught:
        load(texts(files), {})
    line = model().split("jobs:")[0].count("\n") + 2
    assert f"models/toy.yaml:{line}:15: jobs.1.name" in caught.value.message


CIRCLES: list[tuple[dict[str, list[str]], tuple[str, ...]]] = [
    # none
    ({}, ()),
    ({"a": ["b"], "b": []}, ()),
    # a diamond is no circle
    ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, ()),
    # itself
    ({"a": ["a"]}, ("a", "a")),
    # the way into the circle is not part of it
    ({"a": ["b"], "b": ["c"], "c": ["b"]}, ("b", "c", "b")),
    # what is needed but not there ends the way
    ({"a": ["x"]}, ()),
]


@pytest.mark.parametrize(("needs", "path"), CIRCLES)
def test_cycle(needs: dict[str, list[str]], path: tuple[str, ...]) -> None:
    assert cycle(needs) == path


def test_a_long_chain_is_no_trouble() -> None:
    # longer than any recursion could go
    chain = {f"n{index:05}": [f"n{index + 1:05}"] for index in range(3000)}
    assert cycle(chain) == ()
    assert cycle(dict(reversed(chain.items()))) == ()
    circle = cycle(chain | {"n03000": ["n00010"]})
    assert (circle[0], circle[-1], len(circle)) == ("n00010", "n00010", 2992)


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), max_size=6))
def test_cycle_is_a_real_path_exactly_when_there_is_one(needs: dict[str, list[str]]) -> None:
    path = cycle(needs)
    if path:
        assert path[0] == path[-1]
        assert all(after in needs[before] for before, after in pairwise(path))
        return
    # without a circle, things can be taken away until nothing is left
    left = dict(needs)
    while left:
        free = [name for name, wants in left.items() if not any(want in left for want in wants)]
        assert free
        for name in free:
            del left[name]


def test_system_is_used() -> None:
    # the toy set's system is no decoration: its name is checked
    assert "name: sys" in SYSTEM
    assert "sources:" in SOURCES

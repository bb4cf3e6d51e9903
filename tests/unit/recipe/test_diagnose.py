"""Every kind of mistake against the types, and the promise that msgspec and diagnose never disagree."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.files import COMPONENT, PLATFORM, SOURCES, model, shipped

from builder.recipe.diagnose import convert, diagnose
from builder.recipe.load import KINDS
from builder.recipe.text import parse
from builder.recipe.types import Component, Model, Platform, SourcesFile


def mistakes(text: str, kind: Any) -> list[str]:
    value, found = convert(parse(text.encode(), "f.yaml"), kind)
    assert (value is None) == bool(found)
    return [mistake.render() for mistake in found]


def changed(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new)


ROWS: list[tuple[str, str, Any, str]] = [
    # what is wrong, the file, its type, the message
    ("unknown key", model(patchs="[]"), Model, "recipe: unknown key 'patchs'"),
    ("unknown key, near one", model(weight="[]"), Model, "(did you mean 'weights'?)"),
    ("unknown key, deep", model(tree="{source: s, directory: d, stepz: []}"), Model, "tree: unknown key 'stepz'"),
    ("missing key", model(licence=""), Model, "recipe: the key 'licence' is missing"),
    ("missing key, deep", model(tree="{directory: d}"), Model, "tree: the key 'source' is missing"),
    ("number for a text", model(title="3"), Model, 'title: expected text, got the number 3 (quote it: "3")'),
    ("truth for a text", model(title="true"), Model, "title: expected text, got the truth value true"),
    ("null for a text", model(title="null"), Model, "title: expected text, got nothing (null)"),
    ("list for a text", model(title="[a]"), Model, "title: expected text, got a list"),
    ("mapping for a text", model(title="{a: b}"), Model, "title: expected text, got keys and values"),
    ("text for a list", model(weights="x"), Model, "weights: expected a list, got 'x' (write it as a list: [...])"),
    ("text for a mapping", model(tree="x"), Model, "tree: expected keys and values, got 'x'"),
    ("text for a map of names", model(environment="x"), Model, "environment: expected keys and values, got 'x'"),
    ("the document is a list", "- a\n", Model, "recipe: expected keys and values, got a list"),
    (
        "unquoted version",
        model(components="[{name: ops, version: 8.10}]"),
        Model,
        'components[0].version: expected a version, quoted, got the number 8.10 (quote it: "8.10")',
    ),
    ("bad name", model("Toy", tree="{source: a, directory: b}", sources="{}"), Model, "name: expected kebab-case name"),
    (
        "bad key of a map",
        model(environment='{"A B": x}'),
        Model,
        "environment: the key 'A B' is wrong: expected an environment variable's name",
    ),
    ("bad value of a map", model(environment="{A: 2}"), Model, "environment.A: expected text, got the number 2"),
    ("39 digits", changed(SOURCES, "b" * 40, "b" * 39), SourcesFile, "(39 characters)"),
    ("short sha256", changed(SOURCES, "a" * 64, "a" * 63), SourcesFile, "(63 characters)"),
    ("a tag name for a commit", changed(SOURCES, "b" * 40, "v1.0"), SourcesFile, "a full commit: 40 hexadecimal"),
    (
        "unknown tag",
        changed(SOURCES, 'type: git, url: "https://example.org/ops', 'type: gti, url: "https://x/ops'),
        SourcesFile,
        "sources.ops.type: unknown type: 'gti' (did you mean 'git'?)",
    ),
    ("missing tag", changed(SOURCES, "type: archive, ", ""), SourcesFile, "sources.py: the key 'type' is missing"),
    ("tag that is a list", changed(SOURCES, "type: archive", "type: []"), SourcesFile, "unknown type: a list"),
    ("tag that is a number", changed(SOURCES, "type: archive", "type: 3"), SourcesFile, "unknown type: the number 3"),
    ("union of structs given a text", "sources: {a: x}\n", SourcesFile, "sources.a: expected keys and values"),
    ("http", changed(SOURCES, "https://example.org/ops", "http://example.org/ops"), SourcesFile, "an https, ssh or"),
    # BuildKit would fetch a web page
    ("git URL without .git", changed(SOURCES, "/ops.git", "/ops"), SourcesFile, "that ends in .git"),
    ("requirement without version", model(requirements='{packages: ["numpy=="]}'), Model, "a requirement such as"),
    ("requirement with a marker", model(requirements='{packages: ["numpy; os_name"]}'), Model, "a requirement such as"),
    # make and a shell read the profile task once more
    (
        "profile task that runs something",
        changed(PLATFORM, "-m test --pgo", "-m test; id"),
        Platform,
        "arguments of the",
    ),
    (
        "unknown literal",
        changed(PLATFORM, "accelerator: npu", "accelerator: gpu"),
        Platform,
        "accelerator: expected one of 'cpu', 'npu', got 'gpu' (did you mean 'npu'?)",
    ),
    (
        "literal that is a number",
        changed(PLATFORM, "accelerator: npu", "accelerator: 1"),
        Platform,
        "accelerator: expected one of",
    ),
    (
        "literal in a list",
        changed(PLATFORM, "[aarch64, x86_64]", "[aarch64, arm64]"),
        Platform,
        "architectures[1]: expected one of",
    ),
    ("literal as a key", changed(PLATFORM, "{stock: gcc", "{stok: gcc"), Platform, "the key 'stok' is wrong"),
    (
        "truth value",
        changed(PLATFORM, "shared: true", "shared: maybe"),
        Platform,
        "python.shared: expected true or false, got 'maybe'",
    ),
    ("truth value as number", changed(PLATFORM, "shared: true", "shared: 1"), Platform, "got the number 1"),
    ("whole number", COMPONENT + "minutes: 1.5\n", Component, "minutes: expected a whole number, got the number 1.5"),
    ("whole number, text", COMPONENT + "minutes: soon\n", Component, "minutes: expected a whole number, got 'soon'"),
    ("whole number, truth", COMPONENT + "minutes: true\n", Component, "minutes: expected a whole number"),
    ("too small", COMPONENT + "minutes: -1\n", Component, "minutes: must be at least 0, got -1"),
    (
        "too large",
        model(jobs="[{name: a, title: t, command: [x], npus: 17}]"),
        Model,
        "jobs[0].npus: must be at most 16, got 17",
    ),
    ("empty list", model(jobs="[{name: a, title: t, command: []}]"), Model, "jobs[0].command: needs at least 1 entry"),
    (
        "number for a number field",
        model(results="[{chip: c, cards: 8, global_batch: 8, epochs: 1, metrics: {a: x}}]"),
        Model,
        "results[0].metrics.a: expected a number, got 'x'",
    ),
    ("path that leaves", model(tree="{source: s, directory: ../x}"), Model, "a relative path that does not leave"),
    ("text too long", model(title="x" * 2001), Model, "title: has 2001 characters; at most 2000 are allowed"),
    (
        "empty find",
        model(tree='{source: s, directory: d, steps: [{do: edit, file: a, find: "", replace: b}]}'),
        Model,
        "tree.steps[0].find: must not be empty",
    ),
    (
        "null where it is allowed, else wrong",
        changed(SOURCES, "a" * 64, "5"),
        SourcesFile,
        "sources.py.sha256: expected a sha256: 64 hexadecimal digits, got the number 5",
    ),
    (
        "one of two types",
        model(tree="{source: s, directory: d, steps: [{do: copy, path: a, to: b, source: 5}]}"),
        Model,
        "tree.steps[0].source: expected kebab-case name",
    ),
    ("control character", model(title='"a\\nb"'), Model, "title: expected one line of text without control"),
    ("next line character", model(title='"a\\Nb"'), Model, "title: expected one line of text without control"),
    # it turns what follows around, and shows another command than the one that runs
    ("bidirectional override", model(title='"a\u202eb"'), Model, "title: expected one line of text"),
    ("a very long wrong value", model(platform="x" * 1000 + "!"), Model, "..."),
]


@pytest.mark.parametrize(("text", "kind", "message"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_one_mistake(text: str, kind: Any, message: str) -> None:
    found = mistakes(text, kind)
    assert len(found) == 1
    assert message in found[0]
    assert "^" in found[0]


def test_sound_files_have_no_mistake() -> None:
    for text, kind in [(model(), Model), (SOURCES, SourcesFile), (PLATFORM, Platform), (COMPONENT, Component)]:
        assert mistakes(text, kind) == []


def test_all_mistakes_in_the_order_of_the_file() -> None:
    text = model(title="1", patchs="[]", licence="", weights="x")
    lines = [int(found.split(":")[1]) for found in mistakes(text, Model)]
    assert len(lines) == 4
    assert lines == sorted(lines)


def test_broken_text_is_not_diagnosed_further() -> None:
    value, found = convert(parse(b"a: [", "f.yaml"), Model)
    assert value is None
    assert len(found) == 1


# --- the property: msgspec fails <=> diagnose yields ---------------------------------------------

REAL: list[tuple[str, Any, Any]] = [
    (path, yaml.safe_load(content), SourcesFile if path == "sources.yaml" else KINDS[path.split("/")[0]])
    for path, content in shipped().items()
]
WRONG: list[Any] = [
    *(None, True, False, 0, -1, 1, 17, 1.5, 10**17, "", "x", "X Y", "8.10", "a" * 40, "b" * 39, "c" * 64, "npu", "git"),
    *("../x", "/abs", "-x", "$(touch x)", "a\nb", "a\u2028b", "é", "x" * 2001, "https://x/y", "readme"),
    *([], ["x"], [1], [[]], [None], [{}], {}, {"a": 1}, {"a": "b"}, {"do": "patch"}, {"do": "x"}, {"type": "git"}),
    *({"do": None}, {"type": []}, {"name": "x", "version": "1"}),
]


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += nodes(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += nodes(item, (*path, index))
    return found


def mutate(data: Any, seed: int) -> Any:
    """Return `data` with one to three random nodes deleted, renamed, retyped or added to."""
    chance = random.Random(seed)  # noqa: S311
    data = copy.deepcopy(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = nodes(data)
        path = chance.choice(places)
        if not path:
            if chance.random() < 0.1:
                return copy.deepcopy(chance.choice(WRONG))
            continue
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        action = chance.choice(("delete", "rename", "retype", "retype", "add"))
        if action == "delete":
            del holder[path[-1]]
        elif action == "rename" and isinstance(holder, dict):
            holder[chance.choice([str(path[-1]) + "s", "name", "source", "on", "when", "", "A B"])] = holder.pop(
                path[-1]
            )
        elif action == "add" and isinstance(holder, dict):
            holder[chance.choice(["extra", "note", "source", "type", "do", "on"])] = copy.deepcopy(chance.choice(WRONG))
        else:
            holder[path[-1]] = copy.deepcopy(chance.choice(WRONG))
    return data


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(REAL) - 1), st.integers(0, 2**32))
def test_msgspec_fails_exactly_when_diagnose_yields(index: int, seed: int) -> None:
    _, data, kind = REAL[index]
    # JSON is YAML with every string quoted
    text = json.dumps(mutate(data, seed), indent=1)
    document = parse(text.encode(), "f.yaml")
    assert not document.mistakes, text
    try:
        msgspec.convert(document.data, kind)
        accepted = True
    except msgspec.ValidationError:
        accepted = False
    found = list(diagnose(document, kind))
    assert accepted == (not found), [mistake.render() for mistake in found]
    for mistake in found:
        mistake.render()

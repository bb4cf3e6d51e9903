"""docs/upstream-defects.md: every known defect has its row, and the place that handles it is really there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.files import REPOSITORY

TABLE = REPOSITORY / "docs" / "upstream-defects.md"
FOLDERS = (
    *(
        "",
        "builder",
        "builder/recipes",
        "templates/stages",
        "templates/macros",
        "templates/scripts",
        "templates/compose",
    ),
)
LAST = {"C": 23, "P": 13, "F": 14, "T": 11, "V": 15, "S": 14}
IDS = [f"{letter}{number}" for letter, last in LAST.items() for number in range(1, last + 1)]

_FILE = re.compile(r"(?:[\w./*-]|\{[\w,]+\})+\.(?:yaml|j2|py|sh)")
_KEY = re.compile(r"^(?P<key>[a-z][\w.-]*)(?: \((?P<name>[\w-]+)\))?$")


def rows() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in TABLE.read_text(encoding="utf-8").split("\n"):
        match = re.match(r"^\| ([CPFTVS]\d+) \|", line)
        if match:
            assert match[1] not in found, f"{match[1]} is there twice"
            found[match[1]] = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    return found


def files(pattern: str) -> list[Path]:
    """Return the files that a path in the table means, with `*` and `{a,b}`."""
    braces = re.search(r"\{([\w,]+)\}", pattern)
    if braces:
        return [path for word in braces[1].split(",") for path in files(pattern.replace(braces[0], word))]
    for folder in FOLDERS:
        found = sorted((REPOSITORY / folder).glob(pattern))
        if found:
            return found
    raise AssertionError(f"{pattern}: no such file")


def has(value: Any, path: list[str]) -> bool:
    """Return whether recipe data has a key; in a list, an item of that name or any item with that key."""
    if not path:
        return value not in (None, "", [], {})
    if isinstance(value, dict):
        if path[0] in value:
            return has(value[path[0]], path[1:])
        # a name with dots in it, and keys below names that are not spelled out (versions.steps)
        dotted = ".".join(path)
        return dotted in value or any(has(item, path) for item in value.values() if isinstance(item, dict))
    if isinstance(value, list):
        named = [
            item for item in value if isinstance(item, dict) and item.get("name", item.get("component")) == path[0]
        ]
        return any(has(item, path[1:]) for item in named) or any(
            has(item, path) for item in value if isinstance(item, dict)
        )
    return False


@pytest.mark.parametrize("name", IDS)
def test_every_defect_has_a_row(name: str) -> None:
    row = rows().get(name)
    assert row is not None, f"{name} is missing in docs/upstream-defects.md"
    assert len(row) == 4, row
    assert all(row), f"{name}: an empty cell"


def test_there_is_no_other_row() -> None:
    assert sorted(rows()) == sorted(IDS)


@pytest.mark.parametrize("name", IDS)
def test_the_place_that_handles_it_is_there(name: str) -> None:
    place = rows()[name][-1]
    assert _FILE.search(place), f"{name}: no file is named"
    for clause in place.split(";"):
        named = [path for pattern in _FILE.findall(clause) for path in files(pattern)]
        quoted = re.findall(r"`([^`]+)`", clause)
        texts = [path.read_text(encoding="utf-8") for path in named]
        for word in quoted:
            parts = [part for part in re.split(r"[^\w.-]+", word) if part]
            assert any(all(part in text for part in parts) for text in texts), f"{name}: {word!r} is not in {named}"
        _, colon, keys = clause.rpartition(".yaml: ")
        documents = [yaml.safe_load(text) for path, text in zip(named, texts, strict=True) if path.suffix == ".yaml"]
        for word in keys.split(", ") if colon else []:
            match = _KEY.match(re.sub(r" \(.*`.*\)| \(no .*\)", "", word.strip()))
            assert match, f"{name}: {word!r} is no key"
            path = match["key"].split(".")
            holders = [
                document.get("sources", document)
                if "sources" in document and match["key"] in document["sources"]
                else document
                for document in documents
            ]
            found = [has(holder, [match["key"]]) or has(holder, path) for holder in holders]
            assert any(found), f"{name}: {word!r} is in none of {[path.name for path in named]}"
            if "*" not in clause:
                assert all(found), f"{name}: {word!r} is not in all of {[path.name for path in named]}"
            if match["name"]:
                assert any(item.get("name") == match["name"] for document in documents for item in document[path[0]])

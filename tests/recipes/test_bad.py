"""One folder below bad/ for every rule: a toy set with one file replaced, and what drivebuild says about it.

A file's first line is `# expect: <part of the message>`; `# at: line:column` follows where the place matters.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.files import toy

from builder.errors import RecipeError
from builder.recipe.load import RecipeText, load

FOLDER = Path(__file__).parent / "bad"
RULES = sorted(path for path in FOLDER.iterdir() if path.is_dir())


def expectation(folder: Path) -> tuple[str, str]:
    for path in sorted(folder.rglob("*.yaml")):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        if lines[0].startswith("# expect: "):
            at = lines[1].removeprefix("# at: ") if lines[1].startswith("# at: ") else ""
            return lines[0].removeprefix("# expect: "), at
    raise AssertionError(f"{folder}: no file begins with '# expect: '")


@pytest.mark.parametrize("folder", RULES, ids=lambda folder: folder.name)
def test_rule(folder: Path) -> None:
    files = {path: RecipeText(path, path, text.encode()) for path, text in toy().items()}
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).as_posix()
        files[name] = RecipeText(name, name, path.read_bytes())
    message, at = expectation(folder)
    with pytest.raises(RecipeError) as caught:
        load(files.values(), {})
    assert message in caught.value.message
    first = next(line for line in caught.value.message.split("\n") if message in line)
    assert re.match(r"\S+\.yaml:\d+:\d+: ", first), "file, line and column"
    if at:
        assert f":{at}: " in first
    if folder.name != "yaml-bomb":
        assert caught.value.hint == "1 mistake in 1 file; nothing was written", caught.value.message


def test_there_is_a_bad_file_for_every_item_of_the_list() -> None:
    # the list of the project's brief, by the folders that stand for it
    wanted = {
        *("unknown-key", "wrong-type", "unquoted-version", "duplicate-key", "tabs", "not-utf8", "empty", "yaml-bomb"),
        *("missing-pin", "commit-39-hex", "sha256-short", "unknown-component", "unknown-platform", "unknown-source"),
        *("cycle", "two-jobs-one-name", "variant-unknown", "path-upwards", "newline-in-text", "quote-in-a-version"),
        *("substitution-in-a-name", "unknown-architecture"),
        *("installers-without-run", "run-without-installers", "unknown-installer", "installer-is-no-file"),
        *("index-beside-a-source", "index-with-steps", "index-without-version", "unknown-twin", "unknown-way-of-cann"),
    }
    assert wanted <= {folder.name for folder in RULES}

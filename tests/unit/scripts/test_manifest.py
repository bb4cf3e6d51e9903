"""manifest.py: what was planned and what was done, as one text that is the same for the same image."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from builder import paths

SCRIPT = paths.TEMPLATES / "scripts" / "manifest.py"
PLAN = {"sources": {"b": {"commit": "01"}, "a": {"commit": "02"}}, "model": "müdel"}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    more = ("--plan", str(folder / "plan.json"), "--output", str(folder / "manifest.json"))
    command = [sys.executable, "-I", str(SCRIPT), *more, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plan.json").write_text(json.dumps(PLAN, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "tree").write_text('{"do": "patch", "files": []}\n{"do": "edit", "files": []}\n')
    (tmp_path / "overlay").write_text('{"files": [], "do": "copy"}\n')
    return tmp_path


def words(folder: Path, *stages: str) -> list[str]:
    return [word for stage in stages for word in ("--applied", f"{stage}={folder / stage}")]


def test_plan_and_records_are_merged(folder: Path) -> None:
    result = run(folder, *words(folder, "tree", "overlay"))
    assert result.returncode == 0, result.stderr
    manifest = json.loads((folder / "manifest.json").read_text())
    steps = {"tree": ["patch", "edit"], "overlay": ["copy"]}
    assert {stage: [step["do"] for step in done] for stage, done in manifest["applied"].items()} == steps
    assert {key: manifest[key] for key in PLAN} == PLAN
    assert manifest["format"] == 1


def test_the_order_of_words_and_keys_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(folder, *words(folder, "tree", "overlay")).returncode == 0
    first = (folder / "manifest.json").read_bytes()
    (folder / "plan.json").write_text(json.dumps(dict(reversed(PLAN.items()))))
    monkeypatch.setenv("LC_ALL", "C")
    assert run(folder, *words(folder, "overlay", "tree")).returncode == 0
    assert (folder / "manifest.json").read_bytes() == first
    assert not (folder / "manifest.json.new").exists()


def test_nothing_applied(folder: Path) -> None:
    assert run(folder).returncode == 0
    assert json.loads((folder / "manifest.json").read_text())["applied"] == {}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--applied", "tree=none"), "none: cannot be read"),
        (("--applied", "tree"), "--applied tree: STAGE=FILE is wanted"),
        (("--applied", "=x"), "STAGE=FILE is wanted"),
        (("--applied", "a={0}/tree", "--applied", "a={0}/tree"), "each stage once"),
        (("--applied", "a={0}/bad"), "bad:2: no JSON"),
        (("--applied", "a={0}/list"), "list:1: a JSON object is wanted"),
        (("--plan", "{0}/taken.json"), "the plan may not have the key applied"),
        (("--plan", "{0}/bad"), "bad: no JSON"),
        (("--plan", "{0}/none"), "none: cannot be read"),
        (("--output", "{0}/none/manifest.json"), "cannot be written"),
    ],
)
def test_bad_input_is_said_and_nothing_written(folder: Path, more: tuple[str, ...], message: str) -> None:
    (folder / "bad").write_text('{"do": "patch"}\n{"do": \n')
    (folder / "list").write_text("[]\n")
    (folder / "taken.json").write_text('{"applied": 1}')
    result = run(folder, *(word.format(folder) for word in more))
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "manifest.json").exists()


def test_it_runs_with_python_3_6() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))
    assert "capture_output" not in SCRIPT.read_text(encoding="utf-8")

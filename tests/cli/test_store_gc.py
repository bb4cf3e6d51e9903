"""`store gc --keep-for`: what the named models need stays, and nothing goes without having been shown."""

from __future__ import annotations

import hashlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.files import REPOSITORY

from builder.plan.make import make_plan
from builder.plan.needs import GitNeed, plan_needs
from builder.recipe.types import Catalog
from builder.source.store import Store

OWN = {"pivotnet": "pivotnet", "tpvformer": "tpvformer"}


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the folder's guard: the question is asked in a process with a terminal."""


@pytest.fixture
def store(tmp_path: Path, catalog: Catalog) -> Store:
    """Return a store with two models' own source, one both need, and one that nobody does; contents are stand-ins."""
    made = Store.make(tmp_path / "store")
    keys = {name: key_of(catalog, name, source) for name, source in OWN.items()}
    keys |= {"both": key_of(catalog, "pivotnet", "mmcv-1.x"), "nobody": "sha256:" + "0" * 64}
    assert keys["both"] == key_of(catalog, "tpvformer", "mmcv-1.x")
    for name, key in keys.items():
        content = f"stands in for {name}".encode()
        path = made.partial(name)
        path.write_bytes(content)
        made.add(key, path, file=name, origin="a test", sha256=hashlib.sha256(content).hexdigest())
    return made


def key_of(catalog: Catalog, model: str, source: str) -> str:
    plan = make_plan(catalog, model)
    (need,) = {
        need
        for architecture in plan.platform.architectures
        for need in plan_needs(catalog, plan, architecture)
        if isinstance(need, GitNeed) and need.name == source
    }
    return need.key


def files(store: Store) -> set[str]:
    return {entry.file for entry in store.entries()}


def gc(store: Store, *words: str) -> tuple[str, ...]:
    return ("store", "gc", "--store", str(store.root), *words)


def test_what_the_models_need_stays(store: Store) -> None:
    done = drivebuild(*gc(store, "--keep-for", "pivotnet", "--yes"))
    assert done.exit_code == 0, done.output
    assert files(store) == {"pivotnet", "both"}
    assert "kept: what pivotnet needs on cann-8.1.rc1" in done.output
    assert "removed 4 files" in done.output
    assert store.verify() == ()


def test_several_models(store: Store) -> None:
    assert drivebuild(*gc(store, "--keep-for", "pivotnet", "--keep-for", "tpvformer", "--yes")).exit_code == 0
    assert files(store) == {"pivotnet", "tpvformer", "both"}


def test_a_dry_run_only_says(store: Store) -> None:
    done = drivebuild(*gc(store, "--keep-for", "pivotnet", "--dry-run"))
    assert "would remove 4 files" in done.output
    assert len(files(store)) == 4


def test_without_a_model_every_key_stays(store: Store) -> None:
    assert drivebuild(*gc(store)).exit_code == 0
    assert len(files(store)) == 4


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("--keep-for", "pivotnet"), "nobody is there", 2),
        (("--keep-for", "pivotne"), "did you mean 'pivotnet'?", 4),
        (("--keep-for", "pivotnet", "--platform", "cann-8.0.0", "--yes"), "cann-8.0.0", 4),
        (("--platform", "cann-8.1.rc1"), "narrow --keep-for", 2),
    ],
)
def test_refused_and_nothing_removed(store: Store, words: tuple[str, ...], said: str, code: int) -> None:
    assert said in refused(drivebuild(*gc(store, *words)), code)
    assert len(files(store)) == 4


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 4), (b"y\n", 2)])
def test_a_person_is_shown_what_goes_and_asked(store: Store, answer: bytes, left: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "builder", *gc(store, "--keep-for", "pivotnet")]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=theirs, stdout=subprocess.PIPE, text=True)
    os.write(ours, answer)
    said = process.communicate(timeout=180)[0]
    os.close(ours)
    os.close(theirs)
    assert "would remove 4 files" in said
    assert "Remove them?" in said
    assert len(files(store)) == left

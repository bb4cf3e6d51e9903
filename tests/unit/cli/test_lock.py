"""`lock` without uv: which locks a word means, what is stale, and where locks are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.files import texts, toy
from support.locks import HASH

from builder.cli.main import Settings
from builder.plan.requirements import LockInput
from builder.recipe.load import load
from builder.recipe.types import Catalog

OURS = ("installer/uv.aarch64.txt", "installer/uv.x86_64.txt")


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of locks that are resolved, here without asking anybody."""
    found: list[str] = []

    def resolve(wanted: LockInput, _run: object) -> tuple[str, ...]:
        found.append(wanted.path)
        return (f"uv==1{HASH}",)

    monkeypatch.setattr("builder.source.lock.resolve", resolve)
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Return a catalog of one model without locks; the command reads it."""
    catalog = load(texts(toy()), {})
    monkeypatch.setattr(Settings, "catalog", lambda _self: catalog)
    return catalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sources.yaml").write_text("sources: {}\n")
    return tmp_path


def written(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(folder / "locks").as_posix() for path in folder.rglob("*.txt")))


def test_the_installers_locks_are_locks_like_any_other(folder: Path, small: Catalog, resolved: list[str]) -> None:
    text = drivebuild("--recipes", str(folder), "lock", "uv").output
    assert "2 locks are current" in text
    assert written(folder) == tuple(sorted(resolved)) == OURS


def test_the_shipped_installer_is_not_resolved_again_before_it_is_told_to(folder: Path, resolved: list[str]) -> None:
    assert drivebuild("--recipes", str(folder), "lock", "uv").exit_code == 0
    assert resolved == []
    assert drivebuild("--recipes", str(folder), "lock", "uv", "--update").exit_code == 0
    assert written(folder) == tuple(sorted(resolved)) == OURS


def test_a_model_or_platform_names_its_locks(folder: Path, small: Catalog, resolved: list[str]) -> None:
    assert drivebuild("--recipes", str(folder), "lock", "toy").exit_code == 0
    assert resolved == ["plat/toy.aarch64.txt", "plat/toy.x86_64.txt"]
    resolved.clear()
    assert drivebuild("--recipes", str(folder), "lock", "plat").exit_code == 0
    assert len(resolved) == 4


def test_check_names_what_is_missing_and_resolves_nothing(small: Catalog, resolved: list[str]) -> None:
    text = refused(drivebuild("lock", "--check"), 8)
    for path in (*OURS, "plat/framework.aarch64.txt", "plat/toy.x86_64.txt"):
        assert f"stale: locks/{path}" in text
    assert "stale: locks/installer/uv.x86_64.txt" in refused(drivebuild("lock", "uv", "--check"), 8)
    assert resolved == []


def test_show_needs_no_locks(small: Catalog) -> None:
    result = drivebuild("show", "toy")
    assert result.exit_code == 0, result.output
    assert "toy-source" in result.output
    assert "there is no lock" in refused(drivebuild("plan", "toy"), 4)

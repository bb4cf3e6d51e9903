"""`lock` without uv: which locks a word means, what is stale, and where locks are written."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.files import texts, toy
from support.locks import HASH

from builder.cli.main import Settings
from builder.errors import SourceError
from builder.plan.requirements import LockInput, lock_inputs
from builder.recipe.load import load
from builder.recipe.types import Catalog
from builder.source.lock import resolve
from builder.source.unbuilt import Stated

OURS = ("installer/uv.aarch64.txt", "installer/uv.x86_64.txt")


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of locks that are resolved, here without asking anybody."""
    found: list[str] = []

    def resolve(wanted: LockInput, *_: object, newest: date | None = None) -> tuple[str, ...]:
        found.append(f"{wanted.path} until {newest}" if newest else wanted.path)
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
    assert drivebuild("--recipes", str(folder), "lock", "--update", "uv").exit_code == 0
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


def test_update_says_what_changed_and_takes_a_name(folder: Path, small: Catalog, resolved: list[str]) -> None:
    small.locks["installer/uv.x86_64.txt"] = f"# head\n# inputs: stale\nuv==0.9{HASH}\nold==2{HASH}\n"
    text = drivebuild("--recipes", str(folder), "lock", "--update", "uv").output
    assert "uv 0.9 -> 1\n" in text
    assert "old 2 -> out\n" in text
    assert "2 locks are current" in text
    # A lock that was not there has no change to tell.
    assert text.count("->") == 2


def test_update_all_means_every_python_lock(folder: Path, small: Catalog, resolved: list[str]) -> None:
    text = drivebuild("--recipes", str(folder), "lock", "--update", "all").output
    assert len(resolved) == 6
    assert "6 locks are current" in text
    # The image without a digest was not asked for, and no registry was asked.
    assert "not reached" not in text


def test_dry_run_writes_nothing(folder: Path, small: Catalog, resolved: list[str]) -> None:
    text = drivebuild("--recipes", str(folder), "lock", "uv", "--dry-run").output
    assert "2 locks would be written" in text
    assert len(resolved) == 2
    assert written(folder) == ()


def test_a_day_is_handed_on_and_recorded_and_check_does_not_mind_it(
    folder: Path, small: Catalog, resolved: list[str]
) -> None:
    words = ("--recipes", str(folder), "lock", "uv")
    assert drivebuild(*words, "--exclude-newer", "2026-02-28").exit_code == 0
    assert resolved == [f"{path} until 2026-02-28" for path in reversed(OURS)]
    text = (folder / "locks" / OURS[0]).read_text()
    assert text.splitlines()[1].endswith(". Nothing newer than 2026-02-28")
    small.locks.update({path: (folder / "locks" / path).read_text() for path in OURS})
    assert "all locks are current" in drivebuild(*words, "--check").output


def test_a_day_does_not_reach_uvs_own_lock_which_is_one_exact_version(
    small: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.source.lock.check_holds", lambda *_: None)
    asked: dict[str, tuple[str, ...]] = {}
    for item in lock_inputs(small):

        def refuse(argv: tuple[str, ...], path: str = item.path) -> tuple[int, str]:
            asked[path] = argv
            return 1, ""

        with pytest.raises(SourceError):
            resolve(item, refuse, _Nobody(), newest=date(2026, 2, 28))
    assert "--exclude-newer" not in asked[OURS[0]]
    words = asked["plat/toy.x86_64.txt"]
    assert words[words.index("--exclude-newer") + 1] == "2026-03-01T00:00:00Z"


class _Nobody:
    def stated(self, *_: str) -> Stated:
        raise AssertionError

    def known(self, *_: str) -> tuple[Stated, ...]:
        return ()


@pytest.mark.parametrize("day", ["2026-13-01", "yesterday", "2026-02-30", "2026-02-28T00:00:00Z"])
def test_a_day_that_is_none_is_refused(small: Catalog, resolved: list[str], day: str) -> None:
    assert "expected a day as YYYY-MM-DD" in refused(drivebuild("lock", "uv", "--exclude-newer", day), 2)
    assert resolved == []


@pytest.mark.parametrize("words", [("--update", "uv"), ("--dry-run",), ("--exclude-newer", "2026-01-01")])
def test_check_goes_with_nothing_that_changes(small: Catalog, words: tuple[str, ...]) -> None:
    assert "--check changes nothing" in refused(drivebuild("lock", "--check", *words), 2)


def test_a_word_that_names_two_things_is_refused_and_a_kind_decides(
    monkeypatch: pytest.MonkeyPatch, folder: Path, resolved: list[str]
) -> None:
    commit = "e" * 40
    source = f'{{toy: {{type: git, url: "https://example.org/toy.git", commit: {commit}}}}}'
    catalog = load(texts(toy(sources=source, tree="{source: toy, directory: Tree}")), {})
    monkeypatch.setattr(Settings, "catalog", lambda _self: catalog)
    words = ("--recipes", str(folder), "lock", "--update")
    assert "'toy' may be git:toy or lock:toy" in refused(drivebuild(*words, "toy"), 2)
    assert drivebuild(*words, "lock:toy").exit_code == 0
    assert resolved == ["plat/toy.aarch64.txt", "plat/toy.x86_64.txt"]
    assert "its recipe names no ref" in refused(drivebuild(*words, "git:toy"), 5)


def test_an_unknown_word_is_refused_with_the_nearest(small: Catalog) -> None:
    assert "did you mean 'toy'?" in refused(drivebuild("lock", "toyy"), 4)
    text = refused(drivebuild("lock", "sdk"), 4)
    assert "pinned by its commit" in text
    assert "drivebuild lock --update sdk" in text
    assert "known: " in refused(drivebuild("lock", "--update", "qqqqqqqq"), 4)


def test_show_needs_no_locks(small: Catalog) -> None:
    result = drivebuild("show", "toy")
    assert result.exit_code == 0, result.output
    assert "toy-source" in result.output
    assert "there is no lock" in refused(drivebuild("plan", "toy"), 4)

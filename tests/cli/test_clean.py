"""`clean --scratch`, which asks no engine: words, what is shown, what is asked, and two of them at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import filelock
import pytest
from support.cli import drivebuild, refused

OLD = 1_000_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder with one old and one new context, and a store."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "cache/drivebuild"
    for name in ("contexts/old", "contexts/new", "store/objects"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("x" * 5000)
    for name in ("contexts/old", "store/objects"):
        os.utime(folder / name, (OLD, OLD))
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--older-than", "soon"), "not an age"),
        (("--older-than", "-3d"), "not an age"),
        (("--older-than", "3y"), "not an age"),
        (("--cache-budget", "much"), "not a size"),
        (("--cache-budget", "-5GB"), "not a size"),
        (("--cache-budget", "20"), "not a size"),
    ],
)
def test_words_that_cannot_be_meant(words: tuple[str, ...], said: str) -> None:
    assert said in refused(drivebuild("clean", "--scratch", *words), 2)


def test_nothing_goes_where_nobody_can_be_asked(cache: Path) -> None:
    for words in ((), ("--json",)):
        done = drivebuild("clean", "--scratch", *words)
        assert done.exit_code == 0
        assert "contexts/old" in done.output
        assert "contexts/new" not in done.output
    assert (cache / "contexts/old").is_dir()


def test_what_is_old_goes_with_a_yes_and_a_store_never(cache: Path) -> None:
    done = drivebuild("clean", "--scratch", "--yes", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert [each["path"] for each in found["files"]] == [str(cache / "contexts/old")]
    assert found["bytes"]["files"] >= 5000
    assert (found["bytes"]["images"], found["bytes"]["cache"]) == (0, 0)
    assert (found["dry_run"], found["failed"]) == (False, [])
    assert not (cache / "contexts/old").exists()
    assert (cache / "contexts/new/file").is_file()
    assert (cache / "store/objects/file").is_file()
    assert "nothing to remove" in drivebuild("clean", "--scratch", "--yes").output


def test_any_age_is_every_context_and_still_no_store(cache: Path) -> None:
    found = json.loads(drivebuild("clean", "--scratch", "--older-than", "0", "--json").output)
    assert {Path(each["path"]).name for each in found["files"]} == {"old", "new"}


def test_what_cannot_be_removed_is_said_and_the_rest_goes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "contexts/other").mkdir()
    os.utime(cache / "contexts/other", (OLD, OLD))
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name == "old":
            raise PermissionError(1, "Operation not permitted")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    said = refused(drivebuild("clean", "--scratch", "--yes"), 6)
    assert "1 could not be removed" in said
    assert "contexts/old: Operation not permitted" in said
    assert not (cache / "contexts/other").exists()


def test_two_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "state/drivebuild"
    folder.mkdir(parents=True)
    with filelock.FileLock(folder / "clean.lock"):
        assert "another `drivebuild clean` is at work" in refused(drivebuild("clean", "--scratch"), 6)

"""What may go from the disk: only what is old and nobody holds; and what that frees."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from builder.engine.buildlock import alone_with
from builder.engine.leftover import (
    Leftover,
    Times,
    caches,
    disk_bytes,
    held,
    named_paths,
    old_profiles,
    old_records,
    remains,
    remove,
    temporary_folder,
)
from builder.engine.log import BuildLog

NOW = 2_000_000_000.0
OLD = Times(now=NOW, before=NOW)


def written(path: Path, when: float = NOW - 9999, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (when, when))
    return path


def aged(path: Path, when: float = NOW - 9999) -> Path:
    os.utime(path, (when, when))
    return path


def names(found: object) -> set[str]:
    return {each.path.name for each in found}  # type: ignore[attr-defined]


def test_of_a_living_image_the_record_and_the_newest_logs_stay(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    for name in ("1.log", "2.log", "3.log", "record.json", "Dockerfile"):
        written(folder / name)
    assert names(old_records(tmp_path, OLD, folder_of_image=[folder])) == {"1.log", "2.log"}
    assert names(old_records(tmp_path, Times(now=NOW, before=NOW, keep=2), folder_of_image=[folder])) == {"1.log"}
    assert names(old_records(tmp_path, Times(now=NOW, before=NOW, keep=0), folder_of_image=[folder])) == {
        "1.log",
        "2.log",
    }


def test_of_an_image_that_is_gone_all_goes_that_is_old(tmp_path: Path) -> None:
    written(tmp_path / "toy/1.log")
    written(tmp_path / "toy/2.log", NOW + 5)
    written(tmp_path / "toy/record.json")
    assert names(old_records(tmp_path, OLD, folder_of_image=[])) == {"1.log", "record.json"}


def test_nothing_of_a_build_that_is_running_goes(tmp_path: Path) -> None:
    for name in ("1.log", "record.json"):
        written(tmp_path / "toy" / name)
    log = BuildLog(tmp_path / "toy/2.log")
    try:
        aged(tmp_path / "toy/2.log")
        assert names(old_records(tmp_path, OLD, folder_of_image=[])) == set()
    finally:
        log.close()
    assert names(old_records(tmp_path, OLD, folder_of_image=[])) == {"1.log", "2.log", "record.json"}


def test_nothing_of_an_image_goes_that_a_build_has_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with alone_with("toy:1", lambda: None):
        written(tmp_path / "drivebuild/builds/toy_1/record.json")
        assert names(old_records(tmp_path / "drivebuild/builds", OLD, folder_of_image=[])) == set()
    assert names(old_records(tmp_path / "drivebuild/builds", OLD, folder_of_image=[])) == {"record.json"}


def test_a_log_that_a_build_took_meanwhile_stays(tmp_path: Path) -> None:
    path = written(tmp_path / "toy/1.log")
    (found,) = old_records(tmp_path, OLD, folder_of_image=[])
    with path.open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert remove(found)
        assert path.exists()
    assert remove(found) == ""
    assert not path.exists()


def test_a_folder_is_removed_when_nothing_is_in_it_any_more(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    aged(folder)
    (found,) = old_records(tmp_path, OLD, folder_of_image=[])
    written(folder / "1.log")
    assert remove(found)
    (folder / "1.log").unlink()
    assert remove(found) == ""
    assert not folder.exists()


def test_the_newest_profile_of_each_kind_stays(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "c", "unknown")):
        (tmp_path / name).mkdir()
        aged(tmp_path / name, NOW - 100 + number)
    found = old_profiles(tmp_path, OLD, lambda folder: "" if folder.name == "unknown" else "toy")
    assert names(found) == {"a", "b"}


def test_a_cache_that_a_process_was_given_stays(tmp_path: Path) -> None:
    for name in ("contexts/one", "contexts/two", "trees/three", "store/objects"):
        (tmp_path / name).mkdir(parents=True)
        aged(tmp_path / name)
    given = frozenset({f"{tmp_path}/contexts/two", f"{tmp_path}/trees/three/below"})
    assert names(caches(tmp_path, OLD, given)) == {"one"}
    assert names(caches(tmp_path, OLD, frozenset())) == {"one", "two", "three"}


def test_command_lines_name_the_folders_that_are_in_use(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "self").mkdir()
    line = b"docker\0buildx\0--build-context\0src-x=/cache/contexts/1\0--secret\0id=a,src=/tmp/drivebuild-1/a\0."
    (tmp_path / "42/cmdline").write_bytes(line)
    assert named_paths(tmp_path) == {"/cache/contexts/1", "/tmp/drivebuild-1/a"}


def test_what_a_killed_process_left_goes_and_what_a_living_one_holds_stays(tmp_path: Path) -> None:
    dead = tmp_path / "drivebuild-dead"
    dead.mkdir()
    aged(dead)
    young = tmp_path / "drivebuild-young"
    young.mkdir()
    aged(young, NOW - 60)
    (tmp_path / "drivebuild-link").symlink_to(dead)
    written(tmp_path / "drivebuild-bug-1.txt")
    living = tmp_path / "drivebuild-living"
    living.mkdir()
    descriptor = os.open(living, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        aged(living)
        assert names(remains([], tmp_path, OLD, frozenset())) == {"drivebuild-dead"}
        assert names(remains([], tmp_path, OLD, frozenset({f"{dead}/Dockerfile"}))) == set()
    finally:
        os.close(descriptor)
    assert names(remains([], tmp_path, OLD, frozenset())) == {"drivebuild-dead", "drivebuild-living"}


def test_drafts_that_were_never_complete_go(tmp_path: Path) -> None:
    for name in (".context-abc", ".export-abc", ".new-abc", ".hidden", "complete"):
        (tmp_path / "here" / name).mkdir(parents=True)
        aged(tmp_path / "here" / name)
    written(tmp_path / "here/.record.json.77")
    found = remains([tmp_path / "here"], tmp_path / "nowhere", OLD, frozenset())
    assert names(found) == {".context-abc", ".export-abc", ".new-abc", ".record.json.77"}


def test_a_temporary_folder_is_held_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path
        assert held(folder)
    assert not folder.exists()


def test_a_second_name_elsewhere_frees_nothing(tmp_path: Path) -> None:
    store, context = tmp_path / "store", tmp_path / "context"
    written(store / "object", text="x" * 100_000)
    context.mkdir()
    alone = disk_bytes(context)
    os.link(store / "object", context / "wheel")
    assert disk_bytes(context) == alone
    assert disk_bytes(tmp_path) >= 100_000 + alone
    os.link(context / "wheel", context / "again")
    (store / "object").unlink()
    assert 100_000 <= disk_bytes(context) - alone < 200_000


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    precious = written(tmp_path / "precious/file")
    link = tmp_path / "link"
    link.symlink_to(precious.parent)
    item = Leftover(kind="cache", path=link, bytes=0, when=0.0, why="")
    assert disk_bytes(link) <= 4096
    assert remove(item) == ""
    assert not link.is_symlink()
    assert precious.exists()


def test_what_somebody_else_removed_is_no_fault(tmp_path: Path) -> None:
    item = Leftover(kind="cache", path=tmp_path / "gone", bytes=0, when=0.0, why="")
    assert remove(item) == ""

"""Subjects that differ by allocator, and how a script in a container comes to its allocator and its data."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from builder.bench.containers import ALLOCATORS, ENTRYPOINT, Place, Subject, exec_command, run_command, sample_in
from builder.bench.suite import SUITES, Suite, find_suites
from builder.cli.benchsides import read_allocators, with_facts
from builder.engine.process import Result
from builder.errors import BuildError, UsageError

OPS, LOADER = SUITES["ops"], SUITES["dataloader"]
NONE = Subject(name="stock", image="i:stock", interpreter=OPS.interpreter, allocator="none")
TC = msgspec.structs.replace(NONE, name="stock+tcmalloc", allocator="tcmalloc")
JE = msgspec.structs.replace(NONE, name="stock+jemalloc", allocator="jemalloc")


def settings(words: tuple[str, ...]) -> dict[str, str]:
    return dict(word.split("=", 1) for before, word in itertools.pairwise(words) if before == "--env")


def test_an_image_with_an_entrypoint_is_told_which_allocator_and_preloads_it_itself() -> None:
    words = exec_command("id", msgspec.structs.replace(TC, entrypoint=True), OPS)
    assert settings(words) == {"DRIVEBUILD_ALLOCATOR": "tcmalloc", "DRIVEBUILD_PRELOAD": ALLOCATORS["tcmalloc"]}
    assert words[words.index("id") + 1 :][:2] == (ENTRYPOINT, OPS.interpreter)
    none = exec_command("id", msgspec.structs.replace(NONE, entrypoint=True), OPS)
    assert settings(none) == {"DRIVEBUILD_ALLOCATOR": "none", "DRIVEBUILD_PRELOAD": ""}


def test_without_an_entrypoint_the_library_is_preloaded_directly() -> None:
    assert settings(exec_command("id", TC, OPS)) == {
        "DRIVEBUILD_ALLOCATOR": "tcmalloc",
        "LD_PRELOAD": ALLOCATORS["tcmalloc"],
    }
    assert settings(exec_command("id", NONE, OPS))["LD_PRELOAD"] == ""


def test_the_interpreter_alone_is_told_nothing() -> None:
    subject = Subject(name="stock", image="i:stock", interpreter="/opt/python/bin/python3")
    assert exec_command("id", subject, SUITES["python"])[:4] == ("docker", "exec", "id", "/opt/python/bin/python3")


def test_what_an_image_lacks_is_an_error_when_it_was_named_and_left_out_when_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts = {"i:stock": ("x86_64", frozenset({"entrypoint", "libtcmalloc.so"}))}
    kept = with_facts((NONE, TC, JE), facts, named=False, quiet=False)
    assert [each.name for each in kept] == ["stock", "stock+tcmalloc"]
    assert all(each.entrypoint for each in kept)
    assert "i:stock has no jemalloc; left out" in capsys.readouterr().err
    with pytest.raises(BuildError, match="i:stock has no jemalloc"):
        with_facts((NONE, TC, JE), facts, named=True, quiet=False)
    with pytest.raises(BuildError, match="nothing to compare"):
        with_facts((NONE, JE), facts, named=False, quiet=True)


def test_allocators_are_named_once_and_known() -> None:
    assert read_allocators(" none, tcmalloc,none") == ("none", "tcmalloc")
    assert read_allocators("") == ()
    with pytest.raises(UsageError, match="jemaloc") as caught:
        read_allocators("jemaloc")
    assert "jemalloc" in caught.value.hint


def test_data_is_mounted_read_only_and_workers_have_shared_memory() -> None:
    mounts = ((Path("/here"), "/data/nuscenes"),)
    text = " ".join(run_command("i", LOADER, Place(cpu="0,1", clock="wall", seconds=9, mounts=mounts)))
    assert "type=bind,source=/here,target=/data/nuscenes,readonly" in text
    assert "--shm-size 4g" in text
    assert "--cpuset-cpus 0,1" in text


def test_a_script_that_sigalrm_ended_took_too_long() -> None:
    place = Place(cpu="1", clock="wall", seconds=9)
    found = sample_in("id", NONE, OPS.programs[0], OPS, place, lambda _: Result(142, b"", b""))
    assert found.error == "took longer than 9 s"


def test_all_is_every_suite_in_order() -> None:
    assert [suite.name for suite in find_suites("all")] == ["python", "ops", "dataloader"]


@pytest.mark.parametrize("found", [OPS, LOADER])
def test_suites_have_a_script_and_a_short_selection(found: Suite) -> None:
    assert (found.folder / found.script).is_file()
    short = [program for program in found.programs if program.fast]
    assert 1 < len(short) < len(found.programs)

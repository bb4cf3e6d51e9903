"""`--arch` without an engine: what is refused, what is said before hours of emulation, what is built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.cli import drivebuild, recorded_builds, refused
from support.engine import FakeEngine
from support.files import without_aarch64
from support.runner import RecordingRunner

from builder.engine.build import Choices
from builder.engine.process import Result
from builder.plan.stage import Plan

ROOT = Path(__file__).resolve().parents[3]
FLASHOCC = ("image", "flashocc", "--platform", "cann-8.1.rc1")
SMALL = ("--recipes", str(ROOT / "benchmarks" / "arm64" / "recipes"), "image", "small")
"""Of a platform that has cross compilers and both architectures."""
INSPECT = ("docker", "buildx", "inspect")
EMULATES = b"Name: default\nDriver: docker\nNodes:\nName: default\nStatus: running\nPlatforms: linux/amd64, linux/arm64"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Plan, Choices]]:
    """Return the list that every build is put down in; the engine is for x86_64 and emulates aarch64."""
    runner = RecordingRunner(answers={INSPECT: Result(0, EMULATES)})
    monkeypatch.setattr("builder.engine.host.connect", FakeEngine)
    monkeypatch.setattr("builder.engine.process.SystemRunner", lambda: runner)
    return recorded_builds(monkeypatch)


def test_the_own_architecture_is_no_foreign_one(builds: list[tuple[Plan, Choices]]) -> None:
    refused(drivebuild(*FLASHOCC, "--arch", "x86_64"), 6)
    refused(drivebuild(*FLASHOCC), 6)
    assert builds[0] == builds[1]
    assert builds[0][1].target == ""


@pytest.mark.parametrize("word", ["aarch64", "arm64"])
def test_what_emulation_costs_is_said_before(word: str, builds: list[tuple[Plan, Choices]]) -> None:
    done = drivebuild(*FLASHOCC, "--arch", word)
    refused(done, 6)
    plan, choices = builds[0]
    assert (plan.foreign, choices.target) == ("aarch64", "aarch64")
    assert "some 12 times slower" in done.stdout
    assert "compiled under emulation: mmcv: " in done.stdout
    assert "nothing is cross-compiled: no cross compiler of openEuler" in done.stdout
    assert "--arch aarch64" in choices.retry


def test_a_profile_that_is_taken_under_emulation_is_said_before(builds: list[tuple[Plan, Choices]]) -> None:
    said = drivebuild(*SMALL, "--lto", "--arch", "aarch64")
    refused(said, 6)
    assert "cross-compiled at full speed: python-stock, python-lto, tcmalloc\n" in said.stdout
    line = next(line for line in said.stdout.splitlines() if "python-lto-trained" in line)
    assert re.search(r"^run under emulation .* about \d+ minutes$", line)
    assert "compiled under emulation" not in said.stdout
    assert "python-lto-trained" in builds[0][0].names


def test_without_cross_compilers_the_optimised_python_is_emulated_as_a_whole(
    builds: list[tuple[Plan, Choices]],
) -> None:
    said = drivebuild(*SMALL, "--lto", "--arch", "aarch64", "--no-cross")
    refused(said, 6)
    assert "compiled under emulation: python-lto: " in said.stdout
    assert "nothing is cross-compiled: it was not asked for" in said.stdout
    assert "run under emulation" not in said.stdout
    assert not [name for name in builds[0][0].names if name.startswith("python-lto-")]


def test_json_has_no_prose(builds: list[tuple[Plan, Choices]]) -> None:
    done = drivebuild(*FLASHOCC, "--arch", "aarch64", "--progress", "json")
    refused(done, 6)
    assert done.stdout == ""


def test_the_cpu_platform_is_cross_compiled_as_far_as_it_goes(builds: list[tuple[Plan, Choices]]) -> None:
    done = drivebuild("image", "flashocc", "--platform", "debian-12-cpu", "--lto", "--arch", "aarch64")
    refused(done, 6)
    assert "some 12 times slower" in done.stdout
    assert "cross-compiled at full speed: python-stock, python-lto\n" in done.stdout
    assert "compiled under emulation: mmcv: " in done.stdout
    plan, choices = builds[0]
    assert (plan.foreign, choices.target) == ("aarch64", "aarch64")
    assert "libraries" in plan.names


def test_an_architecture_that_the_platform_has_not(builds: list[tuple[Plan, Choices]], tmp_path: Path) -> None:
    words = ("--recipes", str(without_aarch64(tmp_path)), "image", "flashocc", "--platform", "debian-12-cpu")
    done = drivebuild(*words, "--arch", "aarch64")
    refused(done, 4)
    assert "debian-12-cpu does not exist for aarch64" in done.stderr
    refused(drivebuild(*FLASHOCC, "--arch", "riscv64"), 2)
    assert builds == []


def test_without_an_emulator_nothing_is_begun(
    builds: list[tuple[Plan, Choices]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = RecordingRunner(answers={INSPECT: Result(0, EMULATES.replace(b", linux/arm64", b""))})
    monkeypatch.setattr("builder.engine.process.SystemRunner", lambda: bare)
    done = drivebuild(*FLASHOCC, "--arch", "aarch64")
    refused(done, 6)
    assert "cannot run programs for aarch64" in done.stderr
    assert "qemu-user-static" in done.stderr
    assert builds == []


def test_no_cross_is_kept_for_the_retry(builds: list[tuple[Plan, Choices]]) -> None:
    refused(drivebuild(*FLASHOCC, "--arch", "aarch64", "--no-cross"), 6)
    assert builds[0][1].retry.endswith("--arch aarch64 --no-cross")


def test_no_cross_alone_means_nothing(builds: list[tuple[Plan, Choices]]) -> None:
    assert "a word about --arch" in refused(drivebuild(*FLASHOCC, "--no-cross"), 2)
    assert builds == []

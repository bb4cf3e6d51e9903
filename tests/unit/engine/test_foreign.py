"""Builds for another architecture than the builder's own: bases, names, emulation, and what is kept of their times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.engine.base import base_commands, ensure_base
from builder.engine.command import Choices, build_command, default_tag
from builder.engine.foreign import check_emulation, emulated, machine_of, own_bases, uses_machine_image
from builder.engine.host import Image
from builder.engine.process import Result
from builder.engine.timings import ran_on
from builder.errors import BuildError
from builder.plan.bootstrap import MARK, base_name, bootstrap_mark
from builder.plan.cross import machine_image
from builder.recipe.types import Catalog

INSPECT = ("docker", "buildx", "inspect")
OWN = b"Name: default\nDriver: docker\nNodes:\nName: default\nStatus: running\nPlatforms: linux/amd64, linux/386"


def test_a_foreign_image_has_a_name_of_its_own() -> None:
    plan = toy_plan(stage("base"), stage("image", "base"))
    other = replace(plan, foreign="aarch64")
    assert default_tag(other, "") == f"{default_tag(plan, '')}-arm64"
    assert default_tag(other, "base") == f"{default_tag(plan, '')}-arm64-base"
    assert other.arguments == (*plan.arguments, "--arch", "aarch64")


def test_its_command_names_the_architecture() -> None:
    plan = replace(toy_plan(stage("base"), stage("image", "base")), foreign="aarch64")
    command = build_command(plan, Choices(target="aarch64"), folder=Path("f"))
    assert command[command.index("--platform") + 1] == "linux/arm64"
    assert "--platform" not in build_command(plan, Choices(), folder=Path("f"))


def test_a_choice_names_both_architectures() -> None:
    facts = FakeEngine().facts()
    assert (Choices().architecture(facts), Choices().machine(facts)) == ("x86_64", "x86_64")
    choices = Choices(target="aarch64")
    assert (choices.architecture(facts), choices.machine(facts)) == ("aarch64", "x86_64")


def test_times_of_emulated_stages_are_kept_apart() -> None:
    assert ran_on("aarch64") == "aarch64"
    assert ran_on("aarch64", "x86_64") not in ("aarch64", "x86_64")


def test_the_base_of_a_foreign_architecture(catalog: Catalog) -> None:
    platform = catalog.platforms["debian-12-cpu"]
    bootstrap = platform.base.bootstrap
    assert bootstrap
    first, second = base_commands(bootstrap, "x", architecture="aarch64")
    assert "--architectures=arm64" in first
    assert second[:4] == ("docker", "import", "--platform", "linux/arm64")
    # What the label says is the recipe's part, which is the same for all.
    assert [word for word in second if MARK in word] == [
        word for word in base_commands(bootstrap, "x")[1] if MARK in word
    ]
    so_made = {"Labels": {MARK: bootstrap_mark(bootstrap)}}
    own = FakeEngine({platform.base.image: Image("sha256:1", 1, "x86_64", so_made, ())})
    runner = RecordingRunner()
    assert ensure_base(platform, engine=own, runner=runner, say=print, architecture="aarch64")  # type: ignore[arg-type]
    assert runner.asked[1][-1] == base_name(platform.base.image, "aarch64")
    own.images[base_name(platform.base.image, "aarch64")] = Image("sha256:2", 1, "aarch64", so_made, ())
    assert not ensure_base(platform, engine=own, runner=runner, say=print, architecture="aarch64")  # type: ignore[arg-type]


def test_without_an_emulator_the_base_says_what_is_missing(catalog: Catalog) -> None:
    said = b"E: arm64 can neither be executed natively nor via qemu user emulation with binfmt_misc\n"
    runner = RecordingRunner(output=said, code=1)
    with pytest.raises(BuildError) as caught:
        ensure_base(
            catalog.platforms["debian-12-cpu"],
            engine=FakeEngine(),  # type: ignore[arg-type]
            runner=runner,
            say=print,
            architecture="aarch64",
        )
    assert "qemu-user-static" in caught.value.hint


def test_another_failure_of_a_base_name_is_no_lack_of_an_emulator(catalog: Catalog) -> None:
    said = b"I: arm64 cannot be executed natively, but transparently using qemu-user\nE: cannot write\n"
    with pytest.raises(BuildError) as caught:
        ensure_base(
            catalog.platforms["debian-12-cpu"],
            engine=FakeEngine(),  # type: ignore[arg-type]
            runner=RecordingRunner(output=said, code=1),
            say=print,
            architecture="aarch64",
        )
    assert "qemu" not in caught.value.hint


@pytest.mark.parametrize(
    ("text", "able"), [(OWN, False), (OWN + b", linux/arm64", True), (OWN + b", linux/arm64*", True), (b"", False)]
)
def test_whether_a_builder_can_run_it(text: bytes, able: bool) -> None:
    runner = RecordingRunner(answers={INSPECT: Result(0, text)})
    if able:
        check_emulation("aarch64", None, runner)
        return
    with pytest.raises(BuildError, match="cannot run programs for aarch64") as caught:
        check_emulation("aarch64", None, runner)
    assert "qemu-user-static" in caught.value.hint


def test_what_doctor_says_of_it() -> None:
    facts = FakeEngine().facts()
    assert emulated(RecordingRunner(answers={INSPECT: Result(0, OWN)}), facts) == ()
    assert emulated(RecordingRunner(answers={INSPECT: Result(0, OWN + b", linux/arm64")}), facts) == ("aarch64",)
    assert emulated(RecordingRunner(missing=("docker",)), facts) == ()


def test_the_machine_is_the_builders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILDX_BUILDER", raising=False)
    arm = b"Name: farm\nDriver: remote\nNodes:\nName: farm0\nStatus: running\nPlatforms: linux/arm64, linux/amd64"
    runner = RecordingRunner(answers={INSPECT: Result(0, arm)})
    engine = FakeEngine()
    machine, builder = machine_of("farm", engine=engine, runner=runner)  # type: ignore[arg-type]
    assert builder
    assert (machine, builder.name) == ("aarch64", "farm")
    own = RecordingRunner(answers={INSPECT: Result(0, OWN)})
    assert machine_of("default", engine=engine, runner=own)[0] == "x86_64"  # type: ignore[arg-type]


def test_bases_under_other_names(catalog: Catalog) -> None:
    own, pulled = catalog.platforms["debian-12-cpu"], catalog.platforms["cann-8.1.rc1"]
    plan = replace(toy_plan(stage("base", own.base.image), stage("image", "base")), platform=own)
    assert list(own_bases(plan)) == []
    other = replace(plan, foreign="aarch64")
    assert list(own_bases(other)) == [(own.base.image, f"{own.base.image}-arm64")]
    crossed = replace(other, stages=(stage("cross-base", machine_image(own)), *other.stages))
    assert uses_machine_image(crossed)
    assert dict(own_bases(crossed))[machine_image(own)] == own.base.image
    # A registry has all architectures under one name.
    assert list(own_bases(replace(other, platform=pulled))) == []

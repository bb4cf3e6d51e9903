"""Making the base image: two commands and a pipe."""

from __future__ import annotations

import shlex

import pytest
from support.engine import FakeEngine
from support.runner import RecordingRunner

from builder.engine.base import CLOCK, base_commands, ensure_base, make_base
from builder.engine.host import Image
from builder.errors import BuildError, UsageError
from builder.plan.bootstrap import MARK, bootstrap_mark
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile


def test_the_dockerfile_names_the_same_commands(catalog: Catalog, templates: dict[str, str]) -> None:
    platform = catalog.platforms["debian-12-cpu"]
    assert platform.base.bootstrap
    text = render_dockerfile(make_plan(catalog, "streampetr", platform="debian-12-cpu"), templates)
    first, second = base_commands(platform.base.bootstrap, platform.base.image)
    clock = " ".join(f"{name}={value}" for name, value in CLOCK.items())
    assert f"#   {clock} {shlex.join(first)} | {shlex.join(second)}\n" in text


def test_what_is_there_is_left_alone(catalog: Catalog) -> None:
    platform, runner = catalog.platforms["debian-12-cpu"], RecordingRunner()
    assert platform.base.bootstrap
    so_made = {"Labels": {MARK: bootstrap_mark(platform.base.bootstrap)}}
    there = FakeEngine({platform.base.image: Image("sha256:1", 1, "x86_64", so_made, ())})
    assert ensure_base(platform, engine=there, runner=runner, say=print) is False  # type: ignore[arg-type]
    assert runner.asked == []
    assert ensure_base(platform, engine=FakeEngine(), runner=runner, say=print) is True  # type: ignore[arg-type]
    assert [argv[0] for argv in runner.asked] == ["mmdebstrap", "docker"]


@pytest.mark.parametrize("config", [{}, {"Labels": None}, {"Labels": {MARK: "another"}}])
def test_one_that_was_made_otherwise_is_made_again(catalog: Catalog, config: dict[str, object]) -> None:
    platform, runner, said = catalog.platforms["debian-12-cpu"], RecordingRunner(), list[str]()
    other = FakeEngine({platform.base.image: Image("sha256:1", 1, "x86_64", config, ())})
    assert ensure_base(platform, engine=other, runner=runner, say=said.append) is True  # type: ignore[arg-type]
    assert [argv[0] for argv in runner.asked] == ["mmdebstrap", "docker"]
    assert "made in another way" in said[0]


def test_missing_mmdebstrap(catalog: Catalog) -> None:
    with pytest.raises(BuildError) as caught:
        make_base(catalog.platforms["debian-12-cpu"], runner=RecordingRunner(missing=("mmdebstrap",)), say=print)
    assert caught.value.hint == "apt-get install mmdebstrap"


def test_a_failing_mmdebstrap_shows_its_last_lines(catalog: Catalog) -> None:
    runner = RecordingRunner(output=b"I: start\nE: Temporary failure resolving 'deb.example'\n", code=25)
    said: list[str] = []
    with pytest.raises(BuildError) as caught:
        make_base(catalog.platforms["debian-12-cpu"], runner=runner, say=said.append)
    assert "exit code 25" in caught.value.message
    assert "mirror" in caught.value.hint
    assert said[1:] == ["start", "Temporary failure resolving 'deb.example'"]


def test_a_base_from_a_registry_is_not_made(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="comes from a registry"):
        make_base(catalog.platforms["cann-8.1.rc1"], runner=RecordingRunner(), say=print)

"""The command itself, as a user runs it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.engine.host import Engine
from builder.engine.process import Result, SystemRunner

pytestmark = pytest.mark.docker
STREAMPETR = ("image", "streampetr", "--platform", "debian-12-cpu")


def drivebuild(*words: str, env: Mapping[str, str] | None = None) -> Result:
    return SystemRunner().run((sys.executable, "-m", "builder", *words), env=env)


def test_a_stage_of_a_shipped_recipe(engine: Engine, tag: str) -> None:
    result = drivebuild(*STREAMPETR, "--until", "tools", "--tag", tag, "--progress", "json")
    assert result.code == 0, result.complaint
    events = [json.loads(line) for line in result.text.splitlines()]
    assert events[-1]["event"] == "record"
    assert events[-1]["tag"] == tag
    assert engine.image(tag)
    again = drivebuild(*STREAMPETR, "--until", "tools", "--tag", tag)
    assert again.code == 0
    assert re.search(r"^tools +cached", again.text, re.MULTILINE)
    assert "0 stages run, 1 cached" in again.text


def test_a_dry_run_builds_nothing(engine: Engine, tag: str) -> None:
    result = drivebuild(*STREAMPETR, "--until", "env", "--tag", tag, "--dry-run")
    assert result.code == 0
    assert "--target env" in result.text
    assert engine.image(tag) is None


def test_no_engine(tmp_path: Path) -> None:
    result = drivebuild(*STREAMPETR, env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert result.code == 6
    assert "no docker engine answers" in result.complaint
    assert "systemctl start docker" in result.complaint
    assert "Traceback" not in result.complaint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until", "evn"), "did you mean 'env'?"),
        (("--source", "streampter=/"), "did you mean 'streampetr'?"),
        (("--build-arg", "X"), "expected NAME=VALUE"),
        (("--progress", "jsn"), "did you mean 'json'?"),
        (("--ca-bundle", "/no/such"), "No such file"),
    ],
)
def test_words_that_cannot_be_meant(words: tuple[str, ...], said: str) -> None:
    result = drivebuild(*STREAMPETR, *words)
    assert result.code == 2
    assert said in result.complaint


def test_a_base_that_is_there(engine: Engine) -> None:
    result = drivebuild("base", "debian-12-cpu")
    assert (result.code, result.text.split()[0]) == (0, "localhost/drivebuild/base:debian-12")


def test_verify_without_an_image() -> None:
    result = drivebuild("verify", "streampetr", "--platform", "debian-12-cpu", "--tag", "drivebuild-test/none:none")
    assert result.code == 6
    assert "there is no image" in result.complaint

"""What `matrix` prints for GitLab: before GitLab's own schema, and its plain jobs run by a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cli import drivebuild


def checked(file: Path) -> subprocess.CompletedProcess[str]:
    tool = str(Path(sys.executable).parent / "check-jsonschema")
    words = (tool, "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(file))
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [(), ("--gitlab-include", "ci/jobs.yml"), ("--filter", "model!=*"), ("--runner", "x86_64=a,b")]
)
def test_a_child_pipeline_is_what_gitlab_takes(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = drivebuild("matrix", "--format", "gitlab", *words)
    assert result.exit_code == 0, result.output
    file = tmp_path / "child.yml"
    file.write_text(result.stdout)
    done = checked(file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_pipeline_with_a_mistake_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "child.yml"
    file.write_text(drivebuild("matrix", "--format", "gitlab").stdout.replace("\n  needs:", "\n  need:", 1))
    assert checked(file).returncode == 1


def run_plain(tmp_path: Path, name: str, *, fails: str = "") -> tuple[int, list[str]]:
    """Run a job of a child pipeline with a `drivebuild` that writes down what it is asked; return how it ended."""
    found: dict[str, Any] = yaml.safe_load(drivebuild("matrix", "--format", "gitlab").stdout)
    job = found[name]
    asked = tmp_path / "asked"
    program = tmp_path / "drivebuild"
    program.write_text(
        f'#!/bin/sh\necho "$*" >> "{asked}"\nif [ "${{*##*{fails or "nothing"}}}" != "$*" ]; then exit 6; fi\n'
    )
    program.chmod(0o755)
    environment = {**os.environ, **job["variables"], "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = "\n".join(found[job["extends"]]["script"])
    done = subprocess.run(("sh", "-e", "-c", script), env=environment, capture_output=True, check=False)
    return done.returncode, asked.read_text().splitlines() if asked.is_file() else []


def test_a_plain_shared_job_builds_each_of_its_stages(tmp_path: Path) -> None:
    code, asked = run_plain(tmp_path, "shared: debian-12-cpu x86_64")
    assert code == 0
    assert len(asked) > 1
    assert all(words.startswith("image ") and " --until " in words for words in asked)


def test_a_plain_shared_job_ends_with_the_first_stage_that_fails(tmp_path: Path) -> None:
    code, asked = run_plain(tmp_path, "shared: debian-12-cpu x86_64", fails="mmcv")
    assert code == 6
    assert asked[-1].endswith("--until mmcv")


def test_a_plain_image_job_builds_its_image(tmp_path: Path) -> None:
    code, asked = run_plain(tmp_path, "image: streampetr debian-12-cpu lto x86_64")
    assert (code, asked) == (0, ["image streampetr --platform debian-12-cpu --lto"])

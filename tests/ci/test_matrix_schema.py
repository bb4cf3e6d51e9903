"""What `matrix` prints for GitLab, before GitLab's own schema."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
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

"""`render` over the whole tree: what it writes, checks, repairs and removes, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.files import REPOSITORY


def test_committed_files_are_current() -> None:
    result = drivebuild("render", "--check", "--output", str(REPOSITORY))
    assert result.exit_code == 0, result.output


def test_render_writes_then_checks_then_repairs(tmp_path: Path) -> None:
    output = ("--output", str(tmp_path))
    assert "missing" in refused(drivebuild("render", "--check", *output), 8)
    assert not any(tmp_path.iterdir())
    assert drivebuild("render", *output).exit_code == 0
    assert drivebuild("render", "--check", *output).exit_code == 0
    dockerfile = tmp_path / "dockerfiles/panoocc/cann-8.2.rc1-stock/Dockerfile"
    rendered = dockerfile.read_text()
    dockerfile.write_text(rendered.replace("FROM scratch AS tools", "FROM busybox AS tools"))
    text = refused(drivebuild("render", "--check", *output), 8)
    assert "+FROM scratch AS tools" in text
    assert "-FROM busybox AS tools" in text
    assert drivebuild("render", *output).exit_code == 0
    assert dockerfile.read_text() == rendered


def test_only_own_surplus_files_are_removed(tmp_path: Path) -> None:
    output = ("--output", str(tmp_path))
    drivebuild("render", *output)
    own = tmp_path / "dockerfiles/gone/cann-8.1.rc1-stock/Dockerfile"
    own.parent.mkdir(parents=True)
    own.write_text((tmp_path / "dockerfiles/panoocc/cann-8.2.rc1-stock/Dockerfile").read_text())
    foreign = tmp_path / "dockerfiles/mine/Dockerfile"
    foreign.parent.mkdir()
    foreign.write_text("FROM scratch\n")
    assert "surplus: dockerfiles/gone" in refused(drivebuild("render", "--check", *output), 8)
    drivebuild("render", *output)
    assert not own.parent.parent.exists()
    assert foreign.read_text() == "FROM scratch\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="shown with a folder that even root cannot write to, under /proc")
def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing() -> None:
    text = refused(drivebuild("render", "--output", "/proc/drivebuild"), 5)
    assert "cannot write" in text
    assert "--output" in text

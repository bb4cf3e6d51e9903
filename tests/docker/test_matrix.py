"""The bake file of `matrix` before the real buildx, which resolves every target of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.cli import drivebuild
from support.files import REPOSITORY

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("group", ["default", "shared", "streampetr", "debian-12-cpu-lto"])
def test_buildx_takes_the_bake_file(tmp_path: Path, group: str) -> None:
    result = drivebuild("matrix", "--format", "bake")
    file = tmp_path / "bake.json"
    file.write_text(result.stdout)
    words = ("docker", "buildx", "bake", "--file", str(file), "--print", group)
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    resolved, said = json.loads(done.stdout), json.loads(result.stdout)
    assert set(resolved["group"][group]["targets"]) == set(said["group"][group]["targets"])
    for name, target in resolved["target"].items():
        assert target["platforms"] == said["target"][name]["platforms"]
        assert (REPOSITORY / target["context"] / target["dockerfile"]).is_file()
        assert target.get("target") == said["target"][name].get("target")

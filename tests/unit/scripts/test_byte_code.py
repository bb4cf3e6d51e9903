"""byte_code.py: what an overlay brings has byte code, of its own source and of where it will lie."""

from __future__ import annotations

import importlib.util
import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builder import paths

SCRIPT = paths.TEMPLATES / "scripts/byte_code.py"
CHECKED = importlib.util.MAGIC_NUMBER + b"\3\0\0\0"


def run(overlay: Path, site: Path) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-B", "-W", "ignore", str(SCRIPT), str(overlay), str(site)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    folder = tmp_path / "overlay"
    for name, text in {
        "ops/__init__.py": "KINDS = {'a', 'b', 'c'}\n",
        "ops/deep/voxel.py": "def fail():\n    raise ValueError\n",
        "ops/old.py": "print 'two'\n",
        "ops/data.json": "{}",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def byte_code(folder: Path) -> dict[str, bytes]:
    return {path.name.partition(".")[0]: path.read_bytes() for path in sorted(folder.rglob("*.pyc"))}


def test_each_source_that_can_be_compiled_is(overlay: Path) -> None:
    assert "byte code: 2 files compiled, 1 cannot have it" in run(overlay, Path("/site"))
    found = byte_code(overlay)
    assert set(found) == {"__init__", "voxel"}
    source = (overlay / "ops/deep/voxel.py").read_bytes()
    assert found["voxel"][:16] == CHECKED + importlib.util.source_hash(source)
    assert marshal.loads(found["voxel"][16:]).co_filename == "/site/ops/deep/voxel.py"  # noqa: S302


def test_two_builds_give_the_same_bytes(overlay: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(overlay, other)
    run(overlay, Path("/site"))
    os.utime(other / "ops/deep/voxel.py", (1, 1))
    run(other, Path("/site"))
    assert byte_code(overlay) == byte_code(other)


def test_laid_over_a_wheel_nothing_is_compiled_at_a_start(overlay: Path, tmp_path: Path) -> None:
    """As COPY does it, over byte code of the files before; then who imports it may not write, and need not."""
    site = tmp_path / "site"
    for name in ("ops/__init__.py", "ops/deep/voxel.py"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("before = True\n")
    run(site, site)
    asks = (
        "import importlib.util as u, sys; sys.path.insert(0, sys.argv[1]); compiled = []; "
        "import importlib._bootstrap_external as b; old = b.SourceLoader.source_to_code; "
        "b.SourceLoader.source_to_code = lambda self, *a, **k: compiled.append(a[1]) or old(self, *a, **k); "
        "import ops, ops.deep.voxel; print(len(compiled), hasattr(ops, 'before'))"
    )
    said = []
    for made in (False, True):
        if made:
            run(overlay, site)
        shutil.copytree(overlay, site, dirs_exist_ok=True)
        command = [sys.executable, "-B", "-c", asks, str(site)]
        said.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert said == [["2", "False"], ["0", "False"]]

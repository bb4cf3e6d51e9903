"""settle.py: byte code that is not written twice, no suites, and a RECORD that names what is there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder import paths

SCRIPT = paths.TEMPLATES / "scripts" / "settle.py"
CHECKED = 3


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the folder of packages of an environment with one package and its suite."""
    folder = tmp_path / "lib/python3.11/site-packages"
    for name, text in {
        "pkg/__init__.py": "LIMIT = {1, 2}\n",
        "pkg/test.py": "def run(): return 1\n",
        "pkg/tests/__init__.py": "",
        "pkg/tests/test_it.py": "assert False\n",
        "pkg/data/tests/blob.bin": "x",
        "pkg/old.py": "print 'two'\n",
        "pkg-1.0.dist-info/uv_cache.json": "{}",
        "pkg-1.0.dist-info/METADATA": "Name: pkg\n",
        "plain-1.0.dist-info/RECORD": "plain.py,,\n",
        "plain.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "pkg-1.0.dist-info/RECORD").write_text(
        "pkg/__init__.py,sha256=a,16\npkg/test.py,sha256=b,1\npkg/tests/__init__.py,,\npkg/tests/test_it.py,sha256=c,13\n"
        '"pkg/data/tests/blob.bin",sha256=d,1\n"pkg/a, b.txt",,\npkg/old.py,,\n'
        "pkg-1.0.dist-info/uv_cache.json,,\npkg-1.0.dist-info/RECORD,,\n"
    )
    return folder


def settle(site: Path) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-B", "-W", "ignore", str(SCRIPT), str(site.parents[2])]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def byte_code(site: Path) -> dict[str, Path]:
    return {path.name.split(".")[0]: path for path in site.rglob("*.pyc")}


def test_byte_code_is_checked_by_the_hash_of_its_source(site: Path) -> None:
    assert "3 files compiled, 0 had it, 1 cannot have it" in settle(site)
    compiled = byte_code(site)
    assert set(compiled) == {"__init__", "test", "plain"}
    for path in compiled.values():
        data = path.read_bytes()
        assert data[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(data[4:8], "little") == CHECKED
        source = Path(importlib.util.source_from_cache(str(path)))
        assert data[8:16] == importlib.util.source_hash(source.read_bytes())


def test_a_second_time_nothing_is_written(site: Path) -> None:
    # a file that is written again is stored again, by the layer that does it
    settle(site)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in site.rglob("*") if path.is_file()}
    (site / "new.py").write_text("NEW = 1\n")
    assert "1 files compiled, 3 had it, 1 cannot have it" in settle(site)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in before} == before
    assert "new" in byte_code(site)


@pytest.mark.parametrize("wrong", ["of another source", "by a time stamp", "truncated", "of another Python"])
def test_byte_code_that_is_not_its_sources_is_written_again(site: Path, wrong: str) -> None:
    settle(site)
    path = byte_code(site)["__init__"]
    good = path.read_bytes()
    data = {
        "of another source": good[:8] + bytes(8) + good[16:],
        "by a time stamp": good[:4] + bytes(4) + good[8:],
        "truncated": good[:10],
        "of another Python": bytes(4) + good[4:],
    }[wrong]
    path.write_bytes(data)
    assert "1 files compiled, 2 had it" in settle(site)
    assert path.read_bytes() == good


def test_suites_go_and_the_record_says_so(site: Path) -> None:
    settle(site)
    assert not list(site.rglob("tests"))
    assert (site / "pkg/test.py").exists()
    assert not (site / "pkg-1.0.dist-info/uv_cache.json").exists()
    assert (site / "pkg-1.0.dist-info/RECORD").read_text() == (
        "pkg/__init__.py,sha256=a,16\npkg/test.py,sha256=b,1\n"
        '"pkg/a, b.txt",,\npkg/old.py,,\npkg-1.0.dist-info/RECORD,,\n'
    )


def test_two_environments_are_the_same_to_the_byte(site: Path) -> None:
    settle(site)
    first = {name: path.read_bytes() for name, path in byte_code(site).items()}
    for path in byte_code(site).values():
        path.unlink()
    settle(site)
    assert {name: path.read_bytes() for name, path in byte_code(site).items()} == first


def test_a_link_to_a_suite_is_left_alone(site: Path, tmp_path: Path) -> None:
    # what it leads to is somebody else's
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keep.py").write_text("")
    (site / "linked").mkdir()
    (site / "linked/tests").symlink_to(elsewhere)
    settle(site)
    assert (elsewhere / "keep.py").exists()


def test_the_interpreters_own_byte_code_is_not_touched() -> None:
    # without -B Python would write that of what the script imports, into the layer and by a time
    text = (paths.TEMPLATES / "macros/build.j2").read_text()
    assert "/opt/venv/bin/python -B -W ignore /opt/uv/settle.py" in text

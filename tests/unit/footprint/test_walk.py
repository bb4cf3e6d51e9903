"""The script that counts files in an image: whose a file is, and what of a layer is hidden."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder import footprint

SITE = "/opt/venv/lib/python3.11/site-packages"
OWNERS = {
    f"{SITE}/pkg/__init__.py": "pkg",
    f"{SITE}/torch/lib/libtorch_cuda.so": "torch",
    f"{SITE}/torch/a.py": "torch",
}


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(Path(str(footprint.__file__)).parent / "inside/walk.py"), run_name="walk")


@pytest.fixture(scope="module")
def group_of(script: dict[str, Any]) -> Callable[[str, dict[str, str]], tuple[str, bool]]:
    made: Callable[[str, dict[str, str]], tuple[str, bool]] = script["group_of"]
    return made


@pytest.mark.parametrize(
    ("path", "group", "compiled"),
    [
        (f"{SITE}/pkg/__init__.py", "dist:pkg", False),
        (f"{SITE}/pkg/__pycache__/__init__.cpython-311.pyc", "dist:pkg", True),
        (f"{SITE}/pkg/__pycache__/__init__.cpython-38.opt-1.pyc", "dist:pkg", True),
        (f"{SITE}/torch/lib/libtorch_cuda.so", "cuda:torch", False),
        (f"{SITE}/torch/a.py", "dist:torch", False),
        (f"{SITE}/nobodys.py", "path:/opt/venv/lib", False),
        (f"{SITE}/__pycache__/nobodys.cpython-311.pyc", "path:/opt/venv/lib", True),
        ("/usr/lib/x86_64-linux-gnu/libc.so", "path:/usr/lib", False),
        ("/usr/local/Ascend/ascend-toolkit/latest/lib64/a.so", "path:/usr/local/Ascend/ascend-toolkit", False),
        ("/usr/local/bin/drivebuild-job", "path:/usr/local/bin/drivebuild-job", False),
        ("/opt/drivebuild/job/job.py", "path:/opt/drivebuild/job", False),
        ("/opt/drivebuild/libtcmalloc.so", "path:/opt/drivebuild/libtcmalloc.so", False),
        ("/init", "path:/init", False),
    ],
)
def test_whose_a_file_is(
    group_of: Callable[[str, dict[str, str]], tuple[str, bool]], path: str, group: str, compiled: bool
) -> None:
    assert group_of(path, OWNERS) == (group, compiled)


def test_names_of_one_file_and_links_count_once(script: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "opt/data").mkdir(parents=True)
    (tmp_path / "opt/data/one").write_bytes(b"x" * 100)
    (tmp_path / "opt/data/two").hardlink_to(tmp_path / "opt/data/one")
    (tmp_path / "opt/data/link").symlink_to("one")
    (tmp_path / "opt/data/folder").symlink_to("/")
    above: set[str] = set()
    # none of these paths is in the machine that runs the test: they count as removed
    (totals,) = [script["count"](str(tmp_path), {}, above)]
    assert sum(entry[0] for entry in totals.values()) == 1
    assert sum(entry[1] for entry in totals.values()) == 100
    assert above == {f"/opt/data/{name}" for name in ("one", "two", "link", "folder")}


def test_what_an_upper_layer_has_is_hidden(script: dict[str, Any], tmp_path: Path) -> None:
    # /etc/passwd is in any image, so only the layer above can hide it
    for layer, size in (("0", 10), ("1", 30)):
        (tmp_path / layer / "etc").mkdir(parents=True)
        (tmp_path / layer / "etc/passwd").write_bytes(b"x" * size)
    above: set[str] = set()
    upper = script["count"](str(tmp_path / "1"), {}, above)
    lower = script["count"](str(tmp_path / "0"), {}, above)
    assert upper == {"path:/etc/passwd": [1, 30, 0, 0]}
    assert lower == {"path:/etc/passwd": [1, 10, 0, 10]}

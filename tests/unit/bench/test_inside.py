"""What scripts in images decide without torch: allocators, figures, configs; and that every program has its work."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from builder.bench.programs import OPERATORS
from builder.bench.suite import SUITES

FOLDER = SUITES["ops"].folder


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    specification = importlib.util.spec_from_file_location(f"inside_{name}", FOLDER / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, specification.name, module)
    specification.loader.exec_module(module)
    return module


MAPS = """\
7f00-7f01 r-xp 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/libc.so.6
7f02-7f03 r-xp 00000000 08:01 2 /opt/drivebuild/libtcmalloc.so
7f04-7f05 r--p 00000000 08:01 2 /usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4.5.9
7f06-7f07 rw-p 00000000 00:00 0
"""


@pytest.mark.parametrize(
    ("claimed", "maps", "wrong"),
    [
        ("", MAPS, ""),
        ("tcmalloc", MAPS, ""),
        ("none", "", ""),
        ("none", MAPS, "allocator none is claimed, and mapped is tcmalloc"),
        ("jemalloc", MAPS, "allocator jemalloc is claimed, and mapped is tcmalloc"),
        ("tcmalloc", "", "allocator tcmalloc is claimed, and mapped is none"),
        ("tcmalloc", f"{MAPS}7f r-xp 0 08:01 3 /opt/drivebuild/libjemalloc.so\n", "jemalloc and tcmalloc"),
    ],
)
def test_exactly_the_claimed_allocator_is_mapped(
    claimed: str, maps: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = load("sampling", monkeypatch).allocator_problem(claimed, maps)
    assert (wrong in said) if wrong else said == ""


def test_a_figure_is_the_median_of_values_that_are_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = load("sampling", monkeypatch)
    calls = itertools.count()
    ticks = itertools.count()
    assert sampling.figure(lambda: next(calls), lambda: next(ticks) * 0.01) == pytest.approx(0.01 / 10)
    # One call that finds out how long it takes, then three values of ten each.
    assert next(calls) == 31


def test_an_answer_is_one_line_whatever_libraries_print(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = load("sampling", monkeypatch)
    monkeypatch.setattr(sampling.signal, "alarm", lambda _seconds: 0)
    monkeypatch.setattr(sys, "stdout", sys.stdout)

    def measure() -> dict[str, Any]:
        sys.stdout.write("a library says something")
        raise AssertionError("not finite")

    sampling.answer(measure, 5)
    out, err = capsys.readouterr()
    assert out == '{"error": "AssertionError: not finite"}\n'
    assert "a library says something" in err


def test_the_config_is_the_first_that_a_job_names_and_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load("dataloader_sample", monkeypatch)
    (tmp_path / "Toy/projects/configs").mkdir(parents=True)
    (tmp_path / "Toy/projects/configs/a.py").touch()
    (tmp_path / "Toy/tools.py").touch()
    commands = [["bash"], ["python", "tools.py"], ["python", "-c", "Config.fromfile('projects/configs/a.py')"]]
    jobs = {
        "workspace": str(tmp_path),
        "jobs": {str(number): {"directory": "Toy", "command": words} for number, words in enumerate(commands)},
    }
    assert script.find_config(jobs) == (str(tmp_path / "Toy"), "projects/configs/a.py")
    jobs["jobs"].pop("2")
    with pytest.raises(script.AbsentError, match="names a config"):
        script.find_config(jobs)


def works(part: str) -> dict[str, list[Any]]:
    """Return the names in a table of works, each with the sizes that are measured and trained with."""
    tree = ast.parse((FOLDER / f"operators_{part}.py").read_text(encoding="utf-8"))
    table = next(node for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "WORKS")
    assert isinstance(table.value, ast.Dict)
    found = {}
    for key, value in zip(table.value.keys, table.value.values, strict=True):
        assert isinstance(value, ast.Tuple)
        assert key is not None
        found[ast.literal_eval(key)] = [ast.literal_eval(part) for part in value.elts[1:]]
    return found


@pytest.mark.parametrize("part", ["mmcv", "torch"])
def test_every_program_has_its_work_and_every_work_its_program(part: str) -> None:
    assert set(works(part)) == set(OPERATORS[part])


def test_a_profile_is_trained_with_other_sizes_than_are_measured() -> None:
    for name, (measured, trained) in works("mmcv").items():
        assert trained, name
        assert all(measured != sizes and set(measured) == set(sizes) for sizes in trained), name

"""The optimised Python's build: a profile that does not fit, in GCC's words, stops it; its training is repeatable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builder import paths
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile

# What GCC 12.2 printed while Objects/setobject.c of CPython 3.11.2 was compiled with a profile that was made so.
SAID = {
    "empty": "Objects/setobject.c: warning: '/src/Objects/setobject.gcda' is not a gcov data file",
    "another compiler's": "Objects/setobject.c: warning: '/src/x.gcda' is version 'A13*', expected version 'B22*'",
    "truncated, another source's": (
        "Objects/setobject.c:2320:1: warning: profile for function 'PySet_Discard' not found in profile data "
        "[-Wmissing-profile]"
    ),
    "missing": (
        "Objects/setobject.c:2561:1: warning: '/src/Objects/setobject.gcda' profile count data file not found "
        "[-Wmissing-profile]"
    ),
}
# And in a good build: programs that only the build runs, and modules that no test of the task imports.
GOOD = (
    "Modules/getpath_noop.c:10:1: warning: '/src/Modules/getpath_noop.gcda' profile count data file not found "
    "[-Wmissing-profile]\n"
    "Programs/_freeze_module.c:249:1: warning: '/src/Programs/_freeze_module.gcda' profile count data file not found "
    "[-Wmissing-profile]\n"
)


# And Clang 19.1 over an edited source; every other profile that does not fit is an error of its own.
CLANG = (
    "warning: Objects/setobject.c: function control flow change detected (hash mismatch) PySet_Discard Hash = 94238966 "
    "up to 0 count discarded [-Wbackend-plugin]"
)
HELPERS = (
    "Programs/_freeze_module.c",
    "./Programs/_testembed.c",
    "Programs/_bootstrap_python.c",
    "Modules/getpath_noop.c",
)


def checks(catalog: Catalog, templates: dict[str, str], platform: str, toolchain: str = "") -> list[str]:
    """Return the lines of the rendered stage that look at the final compile's log."""
    plan = make_plan(catalog, "streampetr", platform=platform, variant="lto", options={}, toolchain=toolchain)
    text = render_dockerfile(plan, templates)
    stage = text[text.index(" AS python-lto\n") :]
    lines = [line.strip().removesuffix("\\").strip().rstrip(";") for line in stage.splitlines()]
    return [line for line in lines if line.startswith(("if grep -E", 'test "$(grep')) and line.count("/tmp/make.log")]


def passes(found: list[str], log: str, folder: Path) -> bool:
    (folder / "make.log").write_text(log, encoding="utf-8")
    script = "; ".join(found).replace("/tmp/make.log", "make.log")
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, check=False).returncode == 0


@pytest.mark.parametrize("what", SAID)
def test_a_profile_that_does_not_fit_stops_the_build(
    what: str, catalog: Catalog, templates: dict[str, str], tmp_path: Path
) -> None:
    found = checks(catalog, templates, "debian-12-cpu")
    assert len(found) >= 2
    assert passes(found, GOOD, tmp_path)
    assert not passes(found, GOOD + SAID[what] + "\n", tmp_path)


@pytest.mark.parametrize("what", SAID)
def test_the_shared_python_is_checked_as_well(
    what: str, catalog: Catalog, templates: dict[str, str], tmp_path: Path
) -> None:
    found = checks(catalog, templates, "cann-8.1.rc1")
    assert passes(found, GOOD, tmp_path)
    assert not passes(found, GOOD + SAID[what] + "\n", tmp_path)


def test_clangs_profile_of_another_source_stops_the_build(
    catalog: Catalog, templates: dict[str, str], tmp_path: Path
) -> None:
    found = checks(catalog, templates, "debian-12-cpu", "clang-debian-12")
    assert passes(found, "clang -c -O3 Objects/setobject.c\n", tmp_path)
    # Seen in a good build: programs that only the build runs have names of the interpreter's.
    helpers = "\n".join(CLANG.replace("Objects/setobject.c", each) for each in HELPERS) + "\n"
    assert passes(found, helpers, tmp_path)
    assert not passes(found, helpers + CLANG + "\n", tmp_path)


def test_clangs_profile_must_know_what_is_hot(catalog: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    """llvm-profdata merges an empty file of counters to an empty profile, without a word."""
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu", variant="lto", toolchain="clang-debian-12")
    text = render_dockerfile(plan, templates)
    start = text.index("test \"$(sed -n 's/^Total functions")
    script = text[start : text.index("done\n", start)].replace("/tmp/profile.txt", "profile.txt") + "done"
    shown = "Total functions: {}\nTop 40 functions with the largest internal block counts: \n  {}, max count = {}\n"

    def passed(*words: object) -> bool:
        (tmp_path / "profile.txt").write_text(shown.format(*words), encoding="utf-8")
        return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=False).returncode == 0

    assert passed(11000, "_PyEval_EvalFrameDefault", 10**9)
    assert not passed(0, "_PyEval_EvalFrameDefault", 10**9)
    assert not passed(11000, "_PyEval_EvalFrameDefault", 100)
    assert not passed(11000, "main", 10**9)


def test_training_does_the_same_each_time() -> None:
    command = [sys.executable, "-I", str(paths.TEMPLATES / "scripts/python_training.py"), "2"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second
    assert first.startswith("trained with 2 rounds")

"""What a suite of benchmarks is, and which there are. Each further suite is one more entry of `SUITES`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from builder.bench.programs import OPERATORS, PROGRAMS
from builder.errors import UsageError

__all__ = ["ALL", "SUITES", "Program", "Suite", "find_programs", "find_suite", "find_suites", "lock_of"]

ALL = "all"
"""The word for every suite, in the order of `SUITES`."""

_HERE = Path(__file__).resolve().parent
VENV = "/opt/venv/bin/python"


class Program(msgspec.Struct, frozen=True):
    """One program of a suite; it may report several figures."""

    name: str
    words: tuple[str, ...]
    """What the suite's script is told."""
    fast: bool = False
    """Whether the short selection has it, too."""


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """Programs, and the script that runs one of them once inside an image.

    The script is given the program's words, and prints one line of JSON: {"values": {name: seconds}} or
    {"error": text}, with "absent": true for a program that this image cannot have. It needs the standard library and
    what the suite is about.
    """

    name: str
    title: str
    interpreter: str
    """What runs the script in the image."""
    script: str
    """A file below builder/bench/inside."""
    programs: tuple[Program, ...]
    locks: str = ""
    """The beginning of the names of its locks, where it needs packages that images do not have."""
    allocators: tuple[str, ...] = ()
    """The allocators that are compared if nothing else is said; none named: what allocates is no part of the suite."""
    processors: int = 1
    """How many processors its processes are pinned to."""
    data: bool = False
    """Whether it reads a nuScenes, and what the model's conversion made of it."""

    @property
    def folder(self) -> Path:
        """Return the folder of the script and what it imports, to be mounted."""
        return _HERE / "inside"


SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            name="python",
            title="pyperformance: the interpreter alone",
            # Not the venv's: that one has the model's packages, which other interpreters do not.
            interpreter="/opt/python/bin/python3",
            script="python_sample.py",
            programs=tuple(Program(name, words, fast) for name, words, fast in PROGRAMS),
            locks="python",
        ),
        Suite(
            name="ops",
            title="operators of mmcv and torch, on the processor",
            interpreter=VENV,
            script="ops_sample.py",
            programs=tuple(
                Program(name, (kind, name), fast) for kind, works in OPERATORS.items() for name, fast in works.items()
            ),
            allocators=("none",),
        ),
        Suite(
            name="dataloader",
            title="the model's own data pipeline, and its workers",
            interpreter=VENV,
            script="dataloader_sample.py",
            programs=(
                Program("jpeg", ("jpeg",)),
                Program("pipeline", ("pipeline",)),
                Program("collate", ("collate",)),
                Program("loader-0", ("loader", "0"), fast=True),
                Program("loader-2", ("loader", "2"), fast=True),
            ),
            allocators=("none", "tcmalloc"),
            processors=2,
            data=True,
        ),
    )
}


def find_suite(name: str) -> Suite:
    """Return a suite by its name.

    Raises:
        UsageError: when there is none of this name.
    """
    from builder.recipe.suggest import one_of

    if name not in SUITES:
        raise UsageError(f"--suite: there is no suite {name!r}", hint=one_of(name, (*SUITES, ALL)))
    return SUITES[name]


def find_suites(name: str) -> tuple[Suite, ...]:
    """Return the suites that a word means: one, or all.

    Raises:
        UsageError: when there is none of this name.
    """
    return tuple(SUITES.values()) if name == ALL else (find_suite(name),)


def find_programs(suite: Suite, names: tuple[str, ...], *, fast: bool) -> tuple[Program, ...]:
    """Return the programs to run: those named, else the short selection, else all.

    Raises:
        UsageError: for a program that the suite does not have.
    """
    from builder.recipe.suggest import one_of

    known = {program.name: program for program in suite.programs}
    for name in names:
        if name not in known:
            raise UsageError(f"--program: suite {suite.name} has no {name!r}", hint=one_of(name, tuple(known)))
    if names:
        return tuple(known[name] for name in dict.fromkeys(names))
    return tuple(program for program in suite.programs if program.fast or not fast)


def lock_of(suite: Suite, series: str, *, folder: Path = _HERE / "locks") -> Path:
    """Return the lock of a suite's packages for one series of Python, such as "3.11".

    Raises:
        UsageError: when the suite was never resolved for that series.
    """
    path = folder / f"{suite.locks}-{series}.txt"
    if not path.is_file():
        known = ", ".join(sorted(each.stem.rpartition("-")[2] for each in folder.glob(f"{suite.locks}-*.txt")))
        raise UsageError(f"suite {suite.name} has no packages for Python {series}", hint=f"it has them for {known}")
    return path

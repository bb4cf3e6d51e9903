"""Resolves the locks with uv. The only module that asks a package index anything on the host."""

from __future__ import annotations

import fnmatch
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from builder.errors import SourceError
from builder.plan.requirements import LockInput
from builder.source.lockcut import cut
from builder.source.tree import write_text

__all__ = ["find_uv", "lock_text", "resolve", "stale", "write_lock"]

Run = Callable[[tuple[str, ...]], tuple[int, str]]
"""Runs a command and returns its exit status and its output; builder/engine/process.py has it."""


def find_uv() -> str:
    """Return the path of uv: beside this Python, or on PATH.

    Raises:
        SourceError: when there is none.
    """
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise SourceError("uv is not installed; locks are resolved with it", hint="pip install uv")
    return found


def resolve(wanted: LockInput, run: Run) -> tuple[str, ...]:
    """Return the pinned lines of one lock.

    Raises:
        SourceError: with uv's own explanation when there is no solution.
    """
    with TemporaryDirectory(prefix="drivebuild-lock-") as folder:
        base = Path(folder)
        (base / "requirements.in").write_text("\n".join(wanted.requirements) + "\n", encoding="utf-8")
        (base / "constraints.txt").write_text("\n".join(wanted.constraints) + "\n", encoding="utf-8")
        (base / "overrides.txt").write_text("\n".join(wanted.overrides) + "\n", encoding="utf-8")
        target = base / "pylock.toml"
        status, output = run(_command(wanted, base, target))
        if status != 0:
            hint = "change a requirement or a pin of the model or the platform"
            raise SourceError(f"{wanted.path}: no solution\n{output.strip()}", hint=hint)
        lines = cut(target.read_text(encoding="utf-8"), python=wanted.python, architecture=wanted.architecture)
    return tuple(line for line in lines if not _left_out(line.partition("==")[0], wanted))


def _command(wanted: LockInput, base: Path, target: Path) -> tuple[str, ...]:
    return (
        find_uv(), "pip", "compile", str(base / "requirements.in"),
        "--constraint", str(base / "constraints.txt"),
        "--override", str(base / "overrides.txt"),
        "--python-version", wanted.python,
        "--python-platform", f"{wanted.architecture}-manylinux_2_28",
        "--format", "pylock.toml", "--output-file", str(target),
        "--no-python-downloads", "--no-config", "--no-annotate", "--no-header", "--no-progress", "--quiet",
    )  # fmt: skip


def _left_out(name: str, wanted: LockInput) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted.left_out)


def lock_text(wanted: LockInput, lines: tuple[str, ...]) -> str:
    """Return the text of a lock file."""
    head = (
        "# RENDERED BY drivebuild lock, with uv. Do not edit; change the recipe and run `drivebuild lock`.",
        f"# Python {wanted.python}, {wanted.architecture}. inputs: {wanted.digest}",
    )
    return "\n".join((*head, *lines)) + "\n"


def write_lock(folder: Path, wanted: LockInput, lines: tuple[str, ...]) -> None:
    """Write one lock below `folder`."""
    write_text(folder / wanted.path, lock_text(wanted, lines))


def stale(inputs: tuple[LockInput, ...], locks: Mapping[str, str]) -> Iterator[LockInput]:
    """Yield the locks that are missing or were resolved from other requirements."""
    for wanted in inputs:
        text = locks.get(wanted.path, "")
        if f"inputs: {wanted.digest}" not in text.partition("\n# ")[2].partition("\n")[0]:
            yield wanted

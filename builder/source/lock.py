"""Resolves the locks with uv, which runs nothing of what it finds."""

from __future__ import annotations

import fnmatch
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from packaging.version import Version

from builder.errors import PlanError, SourceError
from builder.plan.locks import Pinned, parse_lock
from builder.plan.requirements import INSTALLER, LockInput
from builder.source.lockcut import cut
from builder.source.tree import write_text
from builder.source.unbuilt import Stated, check_holds, held_words, refused, settings

__all__ = ["changes", "find_uv", "lock_text", "no_newer", "only_back", "resolve", "stale", "write_lock"]

Run = Callable[[tuple[str, ...]], tuple[int, str]]
"""Runs a command and returns its exit status and its output; builder/engine/process.py has it."""
MOST_ARCHIVES = 100
"""Questions for one lock."""


class Asked(Protocol):
    """Source archives and what they need; builder/source/archives.py has it."""

    def stated(self, name: str, version: str, python: str, architecture: str) -> Stated:
        """Return what an archive needs that has no wheel there."""
        ...

    def known(self, python: str, architecture: str) -> tuple[Stated, ...]:
        """Return what was asked for that Python and architecture: there uv would stop at it again."""
        ...


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


def resolve(wanted: LockInput, run: Run, asked: Asked, *, newest: date | None = None) -> tuple[str, ...]:
    """Return the pinned lines of one lock; with `newest`, of files that were on the index at the end of that day, UTC.

    Raises:
        SourceError: with uv's own explanation when there is no solution; for a source archive that cannot be asked.
    """
    check_holds(find_uv(), run)
    with TemporaryDirectory(prefix="drivebuild-lock-") as folder:
        base = Path(folder)
        (base / "requirements.in").write_text("\n".join(wanted.requirements) + "\n", encoding="utf-8")
        (base / "constraints.txt").write_text("\n".join(wanted.constraints) + "\n", encoding="utf-8")
        (base / "overrides.txt").write_text("\n".join(wanted.overrides) + "\n", encoding="utf-8")
        target = base / "pylock.toml"
        _solve((*_command(wanted, base, target), *held_words(base), *_no_newer(wanted, newest)), wanted, run, asked)
        lines = cut(target.read_text(encoding="utf-8"), python=wanted.python, architecture=wanted.architecture)
    return tuple(line for line in lines if not _left_out(line.partition("==")[0], wanted))


def _solve(command: tuple[str, ...], wanted: LockInput, run: Run, asked: Asked) -> None:
    """Let uv write the lock; whatever it stops at for having to build it is asked elsewhere."""
    stated = {(item.name, item.version): item for item in asked.known(wanted.python, wanted.architecture)}
    most = len(stated) + MOST_ARCHIVES
    file = Path(command[command.index("--output-file") + 1]).with_name("uv.toml")
    while True:
        # Of uv's configuration files, only one of ours is read.
        file.write_text(settings(stated.values()), encoding="utf-8")
        status, output = run((*command, "--config-file", str(file)))
        if status == 0:
            return
        archive = refused(output)
        if not archive or archive in stated or len(stated) == most:
            hint = "change a requirement or a pin of the model or the platform"
            hint += ", or take a later day" if "--exclude-newer" in command else ""
            raise SourceError(f"{wanted.path}: no solution\n{output.strip()}", hint=hint)
        stated[archive] = asked.stated(*archive, wanted.python, wanted.architecture)


def _command(wanted: LockInput, base: Path, target: Path) -> tuple[str, ...]:
    return (
        find_uv(), "pip", "compile", str(base / "requirements.in"),
        "--constraint", str(base / "constraints.txt"),
        "--override", str(base / "overrides.txt"),
        "--python-version", wanted.python,
        "--python-platform", f"{wanted.architecture}-manylinux_2_28",
        "--format", "pylock.toml", "--output-file", str(target),
        "--no-python-downloads", "--no-annotate", "--no-header", "--no-progress", "--quiet",
    )  # fmt: skip


def _no_newer(wanted: LockInput, newest: date | None) -> tuple[str, ...]:
    # uv's own lock is one exact version without dependencies: a day before its release would only be a failure.
    return () if wanted.requirements == (INSTALLER,) else no_newer(newest)


def no_newer(newest: date | None) -> tuple[str, ...]:
    """Return uv's words for nothing younger than that day's end, UTC."""
    if newest is None:
        return ()
    # A day alone would end at midnight of the machine's own time zone.
    return ("--exclude-newer", f"{newest + timedelta(days=1)}T00:00:00Z")


def _left_out(name: str, wanted: LockInput) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted.left_out)


def lock_text(wanted: LockInput, lines: tuple[str, ...], *, newest: date | None = None) -> str:
    """Return the text of a lock file."""
    until = f". Nothing newer than {newest}" if newest else ""
    head = (
        "# RENDERED BY drivebuild lock, with uv. Do not edit; change the recipe and run `drivebuild lock`.",
        f"# Python {wanted.python}, {wanted.architecture}. inputs: {wanted.digest}{until}",
    )
    return "\n".join((*head, *lines)) + "\n"


def write_lock(folder: Path, wanted: LockInput, lines: tuple[str, ...], *, newest: date | None = None) -> None:
    """Write one lock below `folder`."""
    write_text(folder / wanted.path, lock_text(wanted, lines, newest=newest))


def changes(before: str, lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return what newly resolved lines change in a lock's text, one line for each package."""
    old, new = _pinned(before), parse_lock("\n".join(lines), "resolved")
    found = []
    for name in sorted({*old, *new}):
        if name not in new:
            found.append(f"{name} {old[name][0]} -> out")
        elif name not in old:
            found.append(f"{name} new -> {new[name][0]}")
        elif old[name][0] != new[name][0]:
            found.append(f"{name} {old[name][0]} -> {new[name][0]}")
        elif set(old[name][1]) != set(new[name][1]):
            found.append(f"{name} {new[name][0]}: another file of the same version")
    return tuple(found)


def only_back(before: str, lines: tuple[str, ...]) -> bool:
    """Return whether all that newly resolved lines change in a lock's text are versions, each to an older one.

    So it is when a lock has what is younger than the day that bounds the new resolution.
    """
    old, new = _pinned(before), parse_lock("\n".join(lines), "resolved")
    moved = [(old[name][0], new[name][0]) for name in old.keys() & new.keys() if old[name][0] != new[name][0]]
    others = old.keys() ^ new.keys() or [name for name in old.keys() & new.keys() if _other_file(old[name], new[name])]
    return bool(moved) and not others and all(Version(after) < Version(version) for version, after in moved)


def _other_file(old: tuple[str, tuple[str, ...]], new: tuple[str, tuple[str, ...]]) -> bool:
    return old[0] == new[0] and set(old[1]) != set(new[1])


def _pinned(text: str) -> Pinned:
    try:
        return parse_lock(text, "before")
    except PlanError:
        # A damaged lock is resolved anew, which mends it.
        return {}


def stale(inputs: tuple[LockInput, ...], locks: Mapping[str, str]) -> Iterator[LockInput]:
    """Yield the locks that are missing or were resolved from other requirements."""
    for wanted in inputs:
        text = locks.get(wanted.path, "")
        if f"inputs: {wanted.digest}" not in text.partition("\n# ")[2].partition("\n")[0]:
            yield wanted

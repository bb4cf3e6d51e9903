"""Reads recipe folders, locks and templates from disk and hands them to the pure loader."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from builder import paths
from builder.errors import RecipeError
from builder.plan.firstseen import FIRST_SEEN
from builder.recipe.load import KINDS, RecipeText, load
from builder.recipe.types import Catalog

__all__ = ["read_catalog", "read_templates"]

MOST_BYTES = 4 << 20
"""The largest lock has some hundred kB."""


def read_catalog(extra: Sequence[Path] = (), *, shipped: Path | None = None) -> Catalog:
    """Return the shipped recipes and those of the user's own folders; a later folder wins by name.

    `shipped` is where other ones than this drivebuild's lie: those of another commit.

    Raises:
        RecipeError: with all mistakes of all files, or naming a folder that cannot be read.
    """
    folders = (shipped or paths.RECIPES, *extra)
    for folder in extra:
        if not folder.is_dir():
            raise RecipeError(f"{folder}: no such folder of recipes", hint="--recipes takes a folder")
    try:
        files = [text for folder in folders for text in _texts(folder)]
        locks: dict[str, str] = {}
        for folder in folders:
            for path, text in _locks(folder):
                # What was first seen adds up; every other lock is one folder's alone.
                locks[path] = locks.get(path, "") + text if path == FIRST_SEEN else text
    except OSError as error:
        raise RecipeError(f"{error.filename}: {error.strerror}") from error
    return load(files, locks)


def _texts(folder: Path) -> Iterable[RecipeText]:
    # One level and no deeper: a folder named by mistake, a home folder say, must not be searched through.
    found = sorted([*folder.glob("*.yaml"), *folder.glob("*/*.yaml")])
    if not found:
        hint = f"a folder of recipes has {', '.join(f'{kind}/<name>.yaml' for kind in KINDS)} or sources.yaml"
        raise RecipeError(f"{folder}: no recipes in it", hint=hint)
    real = folder.resolve()
    for path in found:
        yield RecipeText(path.relative_to(folder).as_posix(), _shown(path), _content(path, real))


def _content(path: Path, folder: Path) -> bytes:
    """Return what a file of a recipe folder holds, which is given without links in its own path.

    Whoever wrote the folder may be a stranger: a link in it must not lead to a file of the reader's, of which a message
    or a Dockerfile would show parts; a pipe or device would never end.

    Raises:
        RecipeError: it lies elsewhere, is no ordinary file, or is larger than a recipe or lock can be.
    """
    real = path.resolve()
    if not real.is_relative_to(folder):
        raise RecipeError(f"{_shown(path)}: a link that leads out of the folder of recipes", hint="copy the file there")
    # Not to wait for the writer of a pipe.
    descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RecipeError(f"{_shown(path)}: no ordinary file")
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise RecipeError(f"{_shown(path)}: larger than {MOST_BYTES >> 20} MiB; no recipe and no lock is")
    return text


def _shown(path: Path) -> str:
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def _locks(folder: Path) -> Iterable[tuple[str, str]]:
    base, real = folder / "locks", folder.resolve()
    for path in sorted(base.rglob("*.txt")):
        try:
            yield path.relative_to(base).as_posix(), _content(path, real).decode()
        except UnicodeDecodeError as error:
            raise RecipeError(f"{_shown(path)}: not UTF-8") from error


def read_templates(folder: Path | None = None) -> dict[str, str]:
    """Return the text of every template and script by its path below `templates/`, or another folder of them."""
    folder = folder or paths.TEMPLATES
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8").rstrip("\n")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".j2", ".py", ".sh")
    }

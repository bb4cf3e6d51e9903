"""Where drivebuild keeps what is no part of a checkout: records and logs of builds, exported source trees."""

from __future__ import annotations

import os
import re
from pathlib import Path

from builder.errors import BuildError

__all__ = ["BUILDS", "build_folder", "cache_folder", "make_folder", "state_folder", "trees_folder"]

BUILDS = "builds"
"""The folder, in that of the state, that has one for each image."""


def build_folder(tag: str) -> Path:
    """Return the folder of an image's record and logs. It need not be there."""
    return state_folder() / BUILDS / re.sub(r"[^A-Za-z0-9._-]+", "_", tag)


def state_folder() -> Path:
    """Return the folder of records and locks. It need not be there."""
    return _home("XDG_STATE_HOME", ".local/state")


def trees_folder() -> Path:
    """Return the folder of source trees exported from git repositories. It need not be there."""
    return cache_folder() / "trees"


def cache_folder() -> Path:
    """Return the folder of what can be had again: exported trees, contexts, a store of mirrored sources."""
    return _home("XDG_CACHE_HOME", ".cache")


def make_folder(path: Path) -> Path:
    """Make a folder, with those above it.

    Raises:
        BuildError: when it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    if not os.access(path, os.W_OK):
        raise _unwritable(path, "not writable")
    return path


def _home(variable: str, default: str) -> Path:
    named = os.environ.get(variable, "")
    base = Path(named) if named.startswith("/") else Path.home() / default
    return base / "drivebuild"


def _unwritable(path: Path, why: str | None) -> BuildError:
    hint = "XDG_STATE_HOME and XDG_CACHE_HOME name other places for records and caches"
    return BuildError(f"{path}: {why}", hint=hint)

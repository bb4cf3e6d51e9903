"""The folders of a site, as compose sees them: its project folder, `.env` there, and the environment above it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import UsageError

__all__ = ["Site", "find_site"]

_MARKS = (".env", "compose.yaml")


@dataclass(frozen=True, slots=True)
class Site:
    """Where compose runs, and the variables it fills in."""

    folder: Path
    variables: Mapping[str, str]
    """What `.env` says, and the process' own environment above it."""
    named: frozenset[str] = frozenset()
    """Names that stand in `.env`."""

    @property
    def runs(self) -> Path:
        """The folder of all runs; it need not be there."""
        return (self.folder / (self.variables.get("RUNS_ROOT") or "runs")).absolute()


def find_site(start: Path, environment: Mapping[str, str]) -> Site:
    """Return the site of a folder: the nearest one above with an `.env` or a `compose.yaml`, else itself.

    Raises:
        UsageError: when `.env` cannot be read.
    """
    from dotenv import dotenv_values

    start = start.absolute()
    folder = next((each for each in (start, *start.parents) if any((each / mark).is_file() for mark in _MARKS)), start)
    try:
        written = dotenv_values(folder / ".env") if (folder / ".env").is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{folder / '.env'}: {error}") from error
    known = {name: value or "" for name, value in written.items()}
    return Site(folder, {**known, **environment}, frozenset(known))

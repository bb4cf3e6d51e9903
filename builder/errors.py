"""The one tree of errors. Each says what and where; its hint says what to do next; only the CLI prints and exits."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BuildError",
    "DriftError",
    "DrivebuildError",
    "PlanError",
    "PolicyError",
    "RecipeError",
    "RunError",
    "SourceError",
    "UsageError",
]


class DrivebuildError(Exception):
    """Something the user can act on.

    `message` may have several lines (a recipe's mistakes, a log's tail); `hint` is the next step.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DrivebuildError):
    """A command line that cannot be meant."""

    exit_code = 2


class RecipeError(DrivebuildError):
    """A recipe file that is not a recipe."""

    exit_code = 3


class PlanError(DrivebuildError):
    """A combination of model, platform, variant, option and architecture that does not exist."""

    exit_code = 4


class SourceError(DrivebuildError):
    """A pinned source that cannot be had, or is not what was pinned."""

    exit_code = 5


class BuildError(DrivebuildError):
    """The engine is missing, or a build failed."""

    exit_code = 6


class RunError(DrivebuildError):
    """A job failed, or cannot start because something is missing."""

    exit_code = 7


class DriftError(DrivebuildError):
    """Committed output differs from what the recipes render."""

    exit_code = 8


class PolicyError(DrivebuildError):
    """An image has what the caller said that it must not have: a licence of some class, a known vulnerability."""

    exit_code = 9

"""The command line as a function: nothing is started, typer's own runner calls it."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner, Result

from builder.cli.main import app
from builder.engine.build import Choices
from builder.errors import BuildError
from builder.plan.stage import Plan


def drivebuild(*words: str) -> Result:
    """Return what a command prints and its exit code."""
    return CliRunner().invoke(app, list(words))


def refused(result: Result, code: int) -> str:
    """Return the error text of a refused command; a traceback is never what a user sees."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def recorded_builds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Plan, Choices]]:
    """Return the list that every build of `image` is put down in, instead of being run; each one fails."""
    found: list[tuple[Plan, Choices]] = []

    def build(_settings: Any, plan: Plan, dockerfile: str, choices: Choices, _words: Any, _to: Any) -> NoReturn:
        found.append((plan, choices))
        raise BuildError("not built")

    monkeypatch.setattr("builder.cli.build._build", build)
    return found

"""The command line as a function: nothing is started, typer's own runner calls it."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from builder.cli.main import app


def drivebuild(*words: str) -> Result:
    """Return what a command prints and its exit code."""
    return CliRunner().invoke(app, list(words))


def refused(result: Result, code: int) -> str:
    """Return the error text of a refused command; a traceback is never what a user sees."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output

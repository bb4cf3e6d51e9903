"""`docker compose`, as tuples of words: its version, and a project resolved to plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.engine.process import CommandMissingError, Runner
from builder.errors import RunError

__all__ = ["INSTALL", "compose_version", "resolve"]

INSTALL = "install the compose plugin of docker, version 2.20 or newer (Debian: package docker-compose)"


def compose_version(runner: Runner) -> str:
    """Return the version of `docker compose`.

    Raises:
        RunError: when docker or its plugin is missing.
    """
    try:
        said = runner.run(("docker", "compose", "version", "--short"))
    except CommandMissingError as error:
        raise RunError(error.message, hint=INSTALL) from error
    if said.code != 0 or not said.text:
        raise RunError("docker has no compose plugin", hint=INSTALL)
    return said.text.splitlines()[0].strip()


def resolve(
    runner: Runner, text: str, service: str, *, folder: Path, environment: Mapping[str, str]
) -> Mapping[str, Any]:
    """Return one service of a compose file with every variable filled in, as compose itself does it.

    `folder` is the project's: `.env` is read there, and relative paths start there.

    Raises:
        RunError: when compose refuses the file, or is not there.
    """
    start = ("docker", "compose", "--project-directory", str(folder), "--file", "-")
    argv = (*start, *_env_file(folder), "config", "--format", "json", service)
    try:
        said = runner.run(argv, stdin=text.encode(), env=environment)
    except CommandMissingError as error:
        raise RunError(error.message, hint=INSTALL) from error
    if said.code != 0:
        message = f"compose refuses the service {service}: {said.complaint or said.text}"
        raise RunError(message, hint="`drivebuild doctor` looks at docker, compose and .env")
    try:
        found = json.loads(said.stdout)
    except ValueError as error:
        raise RunError(f"compose printed no JSON for {service}", hint=INSTALL) from error
    return found if isinstance(found, dict) else {}


def _env_file(folder: Path) -> tuple[str, ...]:
    path = folder / ".env"
    return ("--env-file", str(path)) if path.is_file() else ()

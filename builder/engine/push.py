"""An image into a registry: its layers as zstd where the engine's image store can do that, as gzip where not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from builder.engine.build import Choices, build_command, build_files, default_tag
from builder.engine.host import INSTALL, Engine
from builder.engine.process import Argv, CommandMissingError, Runner
from builder.errors import BuildError, UsageError
from builder.plan.stage import Plan

__all__ = ["GZIP_NOTE", "ZSTD", "Pushed", "check_repository", "push", "pushed_name"]

GZIP_NOTE = (
    "as gzip: the engine's own image store knows no other. zstd wants containerd's: "
    '{"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json'
)
# Base layers come from a registry as gzip; forced, all are zstd and a pull has one kind to unpack.
ZSTD = "compression=zstd,compression-level=3,force-compression=true,oci-mediatypes=true"
_REPOSITORY = re.compile(r"(?P<host>[A-Za-z0-9.-]+(?::[0-9]+)?)(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_HINTS = (
    (r"unauthorized|denied|authentication required|no basic auth", "sign in: `docker login {host}`"),
    (
        r"server gave HTTP response to HTTPS client",
        "the registry speaks no TLS: only the engine's own `insecure-registries` can allow that",
    ),
    (r"x509: |certificate", "the registry's CA belongs into /etc/docker/certs.d/{host}/ca.crt of the engine's machine"),
    (r"no such host|connection refused|i/o timeout|network is unreachable", "{host} cannot be reached from the engine"),
    (r"429 Too Many Requests|toomanyrequests", "the registry asks for patience: wait, and run the same command again"),
    (
        r"no space left|5\d\d ",
        "the registry has a fault of its own; what has arrived is kept, run the same command again",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a registry has now."""

    name: str
    digest: str
    compression: Literal["zstd", "gzip"]


def check_repository(repository: str, *, offline: bool) -> None:
    """Look whether `--push` names a place in a registry.

    Raises:
        UsageError: when it does not, or names none, and with `offline`.
    """
    match = _REPOSITORY.fullmatch(repository)
    if not match:
        raise UsageError(f"--push {repository!r}: not a repository", hint="such as registry.example:5000/team")
    host = match["host"]
    if not (set(".:") & set(host) or host == "localhost"):
        # The engine would take it for a user's name on Docker Hub.
        raise UsageError(f"--push {repository}: names no registry", hint=f"such as registry.example/{repository}")
    if offline:
        raise UsageError("--push wants a network, and --offline allows none")


def pushed_name(repository: str, plan: Plan, choices: Choices) -> str:
    """Return the name that the image has in the registry."""
    tag = choices.tag or default_tag(plan, choices.until)
    return f"{repository}/{tag.removeprefix('drivebuild/')}"


def push(plan: Plan, dockerfile: str, choices: Choices, repository: str, *, runner: Runner, engine: Engine) -> Pushed:
    """Push what a build with the same choices has just made.

    Raises:
        BuildError: when the registry refuses or cannot be reached; what has arrived there is kept.
    """
    name = pushed_name(repository, plan, choices)
    host = name.partition("/")[0]
    try:
        if engine.facts().containerd_store:
            return _pushed_by_buildkit(plan, dockerfile, choices, name, runner)
        return _pushed_by_engine(choices.tag or default_tag(plan, choices.until), name, runner)
    except CommandMissingError as error:
        raise BuildError(error.message, hint=INSTALL) from error
    except _RefusedError as error:
        said = str(error)
        tail = "".join(f"\n  | {line}" for line in said.splitlines()[-5:])
        hint = next((text for pattern, text in _HINTS if re.search(pattern, said)), "")
        raise BuildError(f"{name} could not be pushed{tail}", hint=hint.format(host=host)) from error


class _RefusedError(Exception):
    """A command that failed, with what it said."""


def _pushed_by_buildkit(plan: Plan, dockerfile: str, choices: Choices, name: str, runner: Runner) -> Pushed:
    with build_files(dockerfile, choices) as folder:
        output = f"type=image,name={name},push=true,{ZSTD}"
        # Everything is in its cache by now; --no-cache would make another image.
        command = build_command(plan, choices, folder=folder, output=output)
        _run(tuple(word for word in command if word != "--no-cache"), runner, choices.environment)
        digest = str(json.loads((folder / "metadata.json").read_bytes()).get("containerimage.digest", ""))
    return Pushed(name=name, digest=digest, compression="zstd")


def _pushed_by_engine(tag: str, name: str, runner: Runner) -> Pushed:
    _run(("docker", "tag", tag, name), runner)
    try:
        said = _run(("docker", "push", name), runner)
    finally:
        # Only the name: the image has its own one, too.
        runner.run(("docker", "image", "rm", name))
    found = re.search(r"digest: (sha256:[0-9a-f]{64})", said)
    return Pushed(name=name, digest=found[1] if found else "", compression="gzip")


def _run(command: Argv, runner: Runner, environment: Mapping[str, str] | None = None) -> str:
    result = runner.run(command, env=environment or None)
    if result.code != 0:
        lines = _errors(result.complaint) or (result.complaint or result.text).splitlines()
        raise _RefusedError("\n".join(line for line in lines if line.strip()))
    return result.text


def _errors(said: str) -> list[str]:
    """Return the plain sentences of buildx's rawjson, which has them as `ERROR: …` lines."""
    return [line for line in said.splitlines() if line.startswith("ERROR")]

"""Pushes whose layers have fixed times, so that two builds of one recipe have equal digests; and who can make one.

BuildKit sets the times when it exports (`rewrite-timestamp`, from 0.13 on). An export into the engine's own image store
cannot have it: overlay2 ignores the word, containerd's says `conflicts with "unpack"`. docs/reproducible.md has it all.
"""

from __future__ import annotations

import re

from builder.engine.base import CLOCK
from builder.engine.command import Choices
from builder.engine.host import OTHER_STORE, Facts
from builder.engine.process import Argv
from builder.errors import UsageError

__all__ = ["EPOCH", "REWRITTEN", "check_fixed_times"]

EPOCH: Argv = ("--build-arg", *(f"{name}={value}" for name, value in CLOCK.items()))
"""The clock of the bases that drivebuild bootstraps, and of all that it compiles. No Dockerfile declares it, so no step
sees it; it is none of the caller's arguments, which would make another recipe."""
REWRITTEN = "rewrite-timestamp=true"
_BUILDKIT = (0, 13)
_DOCKER = 26
"""The first whose BuildKit is that one."""


def check_fixed_times(choices: Choices, facts: Facts) -> None:
    """Look, before anything is built, whether there will be fixed times.

    Raises:
        UsageError: with a builder that would ignore it.
    """
    builder = choices.builder if choices.elsewhere else None
    if builder:
        version = _version(builder.buildkit)
        if version and version < _BUILDKIT:
            message = f"--fixed-times: builder {builder.name} has BuildKit {builder.buildkit}, which ignores it"
            raise UsageError(message, hint="BuildKit 0.13 or newer knows it: make the builder anew")
        return
    if not facts.containerd_store:
        message = "--fixed-times: the engine's own image store keeps the times of the build in its layers"
        raise UsageError(message, hint=OTHER_STORE)
    version = _version(facts.version)
    if version and version[0] < _DOCKER:
        message = f"--fixed-times: Docker {facts.version} has a BuildKit that ignores it"
        raise UsageError(message, hint=f"Docker {_DOCKER} or newer knows it; or another builder: --builder NAME")


def _version(text: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version; None where a distribution left it out (`v0.0.0+unknown`)."""
    match = re.match(r"v?(\d+)\.(\d+)", text)
    found = (int(match[1]), int(match[2])) if match else (0, 0)
    return None if found == (0, 0) else found

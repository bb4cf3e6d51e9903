"""Makes a platform's base image from the distribution's packages, where no registry is needed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable

from builder.engine.host import Engine
from builder.engine.process import Argv, CommandMissingError, Runner
from builder.errors import BuildError, UsageError
from builder.plan.bootstrap import MARK, base_name, bootstrap_mark, bootstrap_words, import_words
from builder.recipe.types import Bootstrap, Platform

__all__ = ["base_commands", "ensure_base", "make_base"]

Say = Callable[[str], None]
"""Is told what the bootstrap is doing; an empty line means that some time passed."""

FOREIGN = "a foreign architecture needs qemu-user-static and arch-test, registered with binfmt_misc"
CLOCK = {"SOURCE_DATE_EPOCH": "1609459200"}
"""mmdebstrap clamps all times to it and leaves out logs and caches: the same packages give the same layer."""


def base_commands(bootstrap: Bootstrap, image: str, mirror: str = "", architecture: str = "") -> tuple[Argv, Argv]:
    """Return the two commands whose pipe makes the image. Without a mirror mmdebstrap asks its default.

    With an architecture that is not this machine's own, the packages' scripts run under emulation.
    """
    first: Argv = bootstrap_words(bootstrap, architecture)
    if mirror:
        # `-`: the image is standard output.
        first = (*first, "-", mirror)
    return first, import_words(bootstrap, "-", image, architecture)


def ensure_base(
    platform: Platform, *, engine: Engine, runner: Runner, say: Say, mirror: str = "", architecture: str = ""
) -> bool:
    """Make the base image where drivebuild makes it and it is not there, or not so made; return whether it was made.

    For an architecture that is not the engine's own it gets a name of its own: `base_name`.

    Raises:
        BuildError: when it cannot be made.
    """
    bootstrap = platform.base.bootstrap
    if bootstrap is None:
        return False
    image = base_name(platform.base.image, architecture)
    there = engine.image(image)
    if there:
        labels = there.config.get("Labels") or {}
        if labels.get(MARK) == bootstrap_mark(bootstrap):
            return False
        say(f"{image} was made in another way than {platform.name} says now: it is made again")
    make_base(platform, runner=runner, say=say, mirror=mirror, architecture=architecture)
    return True


def make_base(platform: Platform, *, runner: Runner, say: Say, mirror: str = "", architecture: str = "") -> None:
    """Make the platform's base image, over an older one.

    Raises:
        UsageError: when the platform's base comes from a registry.
        BuildError: when mmdebstrap is missing or fails, or the engine does not take the result.
    """
    bootstrap = platform.base.bootstrap
    if bootstrap is None:
        message = f"the base image of {platform.name} comes from a registry: {platform.base.image}"
        raise UsageError(message, hint=f"`docker pull {platform.base.image}`; a build pulls it by itself")
    image = base_name(platform.base.image, architecture)
    first, second = base_commands(bootstrap, image, mirror, architecture)
    clock = " ".join(f"{name}={value}" for name, value in CLOCK.items())
    say(f"{clock} {shlex.join(first)} | {shlex.join(second)}")
    tail = _Tail(say)
    try:
        made, imported = runner.pipe(first, second, tail.feed, env=CLOCK)
    except CommandMissingError as error:
        hint = "apt-get install mmdebstrap" if error.program == "mmdebstrap" else "install docker"
        raise BuildError(error.message, hint=hint) from error
    if made.code != 0:
        hint = FOREIGN if architecture and _unable_to_run(made.complaint) else _hint(made.complaint)
        raise BuildError(_failed("mmdebstrap", made.code, made.complaint), hint=hint)
    if imported.code != 0:
        raise BuildError(_failed("docker import", imported.code, imported.complaint))


def _unable_to_run(complaint: str) -> bool:
    # That it goes by qemu is said, too, where all is well.
    words = ("can neither be executed", "install arch-test", "Exec format error")
    return any(word in complaint for word in words)


class _Tail:
    """Says the lines mmdebstrap prints, as they come."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._partial = b""

    def feed(self, piece: bytes) -> None:
        if not piece:
            self._say("")
            return
        *lines, self._partial = (self._partial + piece).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").rsplit("\r", 1)[-1].strip()
            if text.startswith(("I: ", "W: ", "E: ")):
                self._say(text[3:])


def _failed(command: str, code: int, complaint: str) -> str:
    tail = "\n".join(f"  | {line}" for line in complaint.splitlines()[-15:])
    return f"`{command}` failed with exit code {code}" + (f"\n{tail}" if tail else "")


def _hint(complaint: str) -> str:
    if os.geteuid() != 0 and any(word in complaint for word in ("newuidmap", "subuid", "unshare", "superuser", "root")):
        return "run as root, or install uidmap and give this user a range in /etc/subuid and /etc/subgid"
    if "Temporary failure resolving" in complaint or "Could not connect" in complaint:
        return "the distribution's mirror cannot be reached: check the network and /etc/apt/sources.list"
    if "no such suite" in complaint or "unable to get default mirror" in complaint or "keyring" in complaint:
        return "this system's mmdebstrap does not know the suite; install debian-archive-keyring"
    return "the temporary folder's disk is full: TMPDIR names another" if "No space left" in complaint else ""

"""From the raw profiles of a run to one that is kept: who must have left one, merged by the compiler's own tool."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from builder.engine.process import Runner
from builder.engine.profiles import FILE, Compiler
from builder.errors import RunError

__all__ = ["MOUNT", "PATTERN", "Merged", "compiler_in", "merge", "run_operators"]

MOUNT = "/profile"
"""Where the folder of raw profiles is in the container of a run."""
PATTERN = f"{MOUNT}/%m_%p.profraw"
"""LLVM_PROFILE_FILE: the library's signature and the process, so that no rank writes over another's."""
_SCRIPT = "/optimised.py"


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """What templates/scripts/optimised.py says of a merged profile."""

    sha256: str
    raw: int
    processes: int
    libraries: int
    functions: int
    ran: int


def run_operators(
    image: str, inside: Path, raw: Path, *, seconds: int, runner: Runner, feed: Callable[[bytes], None]
) -> None:
    """Call the operators of an instrumented image, for a profile of what they run, until `seconds` have passed.

    Raises:
        RunError: when the process did not end by itself and well; what it left is no profile then.
    """
    # --init: as the first process of a container it would survive every signal. Most images have tini of their own.
    words = ["docker", "run", "--rm", "--init", "--env", "TINI_SUBREAPER=1", "--network", "none", *_user()]
    words += ["--volume", f"{inside}:/inside:ro", "--volume", f"{raw}:{MOUNT}"]
    words += ["--env", f"LLVM_PROFILE_FILE={PATTERN}", "--env", "PYTHONDONTWRITEBYTECODE=1"]
    words += [image, "python", "/inside/ops_training.py", "--seconds", str(seconds)]
    said = bytearray()

    def take(piece: bytes) -> None:
        said.extend(piece)
        feed(piece)

    code = runner.stream(tuple(words), take)
    if code:
        last = " ".join(said.decode("utf-8", "replace").split())[-500:]
        message = f"the workload ended with {code}, so its profile is discarded: {last or 'it said nothing'}"
        raise RunError(message, hint="a process that fails or is killed leaves half a profile, or none")


def merge(
    raw: Path, output: Path, *, toolchain: str, script: Path, processes: int, hot: Sequence[str], runner: Runner
) -> Merged:
    """Merge the raw profiles in a folder into `output`/default.profdata, with the profdata of the image `toolchain`.

    Raises:
        RunError: when a raw profile is missing, empty or torn, or the merged one does not cover what must be hot.
    """
    words = ["docker", "run", "--rm", "--network", "none", *_user()]
    words += ["--volume", f"{raw}:/raw:ro", "--volume", f"{output}:/merged", "--volume", f"{script}:{_SCRIPT}:ro"]
    words += [toolchain, "python3", "-B", _SCRIPT, "merge", "/raw", "--output", f"/merged/{FILE}"]
    words += ["--profdata", "/opt/toolchain/bin/llvm-profdata", "--processes", str(processes)]
    words += [word for pattern in hot for word in ("--hot", pattern)]
    done = runner.run(tuple(words))
    if done.code:
        message = done.complaint.removeprefix("optimised: ") or f"the merge ended with {done.code}"
        raise RunError(f"this run left no usable profile: {message}", hint="nothing of it is kept; run it again")
    return msgspec.json.decode(done.stdout, type=Merged)


def compiler_in(toolchain: str, runner: Runner) -> Compiler:
    """Return what the stage `toolchain` found its compiler to be.

    Raises:
        RunError: when the image has no compiler of ours.
    """
    done = runner.run(("docker", "run", "--rm", "--network", "none", toolchain, "cat", "/opt/toolchain/toolchain.json"))
    try:
        return msgspec.json.decode(done.stdout, type=Compiler)
    except msgspec.MsgspecError as error:
        raise RunError(f"{toolchain} does not say its compiler: {done.complaint or error}") from error


def volume(raw: Path) -> dict[str, Any]:
    """Return the mount of the folder of raw profiles, as a compose project has it."""
    return {"type": "bind", "source": str(raw), "target": MOUNT}


def _user() -> tuple[str, str]:
    return "--user", f"{os.getuid()}:{os.getgid()}"

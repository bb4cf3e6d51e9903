"""The containers that samples are taken in: one for each image, without network, pinned, for the whole run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from builder.bench.suite import Program, Suite
from builder.errors import BuildError, RunError

__all__ = [
    "ALLOCATORS",
    "ENTRYPOINT",
    "LABEL",
    "Place",
    "Reply",
    "Sample",
    "Subject",
    "run_command",
    "sample_in",
    "started",
]

LABEL = "drivebuild.bench"
LONGEST = 24 * 3600
"""Seconds after which a container ends by itself, should nobody be left to remove it."""
SITE, SCRIPTS = "/bench/site", "/bench/inside"
ENTRYPOINT = "/opt/drivebuild/entrypoint"
ALLOCATORS: Mapping[str, str] = {
    "none": "",
    "tcmalloc": "/opt/drivebuild/libtcmalloc.so",
    "jemalloc": "/opt/drivebuild/libjemalloc.so",
}
"""Libraries by what they are called; `none` is the C library's own."""
TOO_LONG = 128 + 14
"""What docker says of a script that SIGALRM ended."""


class Reply(Protocol):
    """What a finished command left; builder/engine/process.py has one."""

    @property
    def code(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def complaint(self) -> str: ...


Run = Callable[[tuple[str, ...]], Reply]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One side of the comparison."""

    name: str
    image: str
    interpreter: str
    allocator: str = ""
    """One of `ALLOCATORS`, of which the script then checks that it and no other is mapped; empty: nobody looks."""
    entrypoint: bool = False
    """Whether the image has an entrypoint, which finds the libraries that torch_npu is linked to."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of one program gave."""

    values: Mapping[str, float] = {}
    """Seconds by figure."""
    error: str = ""
    absent: bool = False
    """The program is not for this image; that is no failure."""
    version: str = ""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how samples are taken."""

    cpu: str
    """Processors as docker's --cpuset-cpus takes them."""
    clock: str
    seconds: int
    """How long one program may take."""
    site: Path | None = None
    mounts: tuple[tuple[Path, str], ...] = ()
    """Folders of this machine, and where a container sees them, read-only."""


def run_command(image: str, suite: Suite, place: Place) -> tuple[str, ...]:
    """Return the command that starts an image's container."""
    mounts = [f"type=bind,source={suite.folder},target={SCRIPTS},readonly"]
    if place.site is not None:
        mounts.append(f"type=bind,source={place.site},target={SITE},readonly")
    mounts += [f"type=bind,source={folder},target={target},readonly" for folder, target in place.mounts]
    # Workers hand batches over in shared memory, of which docker gives 64 MB; a batch of six pictures has 40.
    words = ["docker", "run", "--detach", "--rm", "--init", "--network", "none", "--shm-size", "4g", "--label", LABEL]
    words += ["--cpuset-cpus", place.cpu, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    words += [word for mount in mounts for word in ("--mount", mount)]
    return (*words, "--entrypoint", "sleep", image, str(LONGEST))


@contextlib.contextmanager
def started(subjects: Sequence[Subject], suite: Suite, place: Place, run: Run) -> Iterator[Mapping[str, str]]:
    """Yield a container's id for each image, and remove the containers however the block ends.

    Raises:
        BuildError: when a container cannot be started.
    """
    ids: dict[str, str] = {}
    try:
        for image in dict.fromkeys(subject.image for subject in subjects):
            reply = run(run_command(image, suite, place))
            if reply.code != 0:
                hint = "is the image built, and is there such a processor?"
                raise BuildError(f"docker run {image} failed: {_first(reply)}", hint=hint)
            ids[image] = reply.text.split()[-1]
        yield ids
    finally:
        if ids:
            run(("docker", "rm", "--force", *ids.values()))


def sample_in(container: str, subject: Subject, program: Program, suite: Suite, place: Place, run: Run) -> Sample:
    """Run one program once.

    Raises:
        RunError: when the container is gone, or has no such interpreter.
    """
    reply = run((*exec_command(container, subject, suite), SITE, place.clock, str(place.seconds), *program.words))
    if reply.code == TOO_LONG:
        return Sample(error=f"took longer than {place.seconds} s")
    if reply.code in (125, 126, 127) or "No such container" in reply.complaint:
        raise RunError(f"{subject.name}: {subject.interpreter} cannot be run in {subject.image}: {_first(reply)}")
    return _read(reply)


def exec_command(container: str, subject: Subject, suite: Suite) -> tuple[str, ...]:
    """Return the command that runs a suite's script, up to its words."""
    library = ALLOCATORS.get(subject.allocator, "")
    settings: dict[str, str] = {}
    if subject.allocator and subject.entrypoint:
        # The second is for images whose entrypoint does not know the first.
        settings = {"DRIVEBUILD_ALLOCATOR": subject.allocator, "DRIVEBUILD_PRELOAD": library}
    elif subject.allocator:
        settings = {"DRIVEBUILD_ALLOCATOR": subject.allocator, "LD_PRELOAD": library}
    words = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    through = (ENTRYPOINT,) if subject.entrypoint else ()
    return ("docker", "exec", *words, container, *through, subject.interpreter, f"{SCRIPTS}/{suite.script}")


def _first(reply: Reply) -> str:
    """Return the first line of what a failed command said; docker's own words on `exec` are on standard output."""
    return (reply.complaint or reply.text or f"exit code {reply.code}").splitlines()[0]


def _read(reply: Reply) -> Sample:
    lines = reply.text.splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
        return msgspec.convert(found, Sample)
    except (IndexError, json.JSONDecodeError, msgspec.ValidationError):
        said = (reply.complaint or reply.text)[-400:]
        return Sample(error=f"exit code {reply.code}, and no result: {said}")

"""Run folders: `<RUNS_ROOT>/<model>/<job>/<time>/`, what is written there, and a reader that trusts nothing in them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from builder.errors import RunError

__all__ = [
    "ImageUsed",
    "Outcome",
    "RunFolder",
    "RunResult",
    "RunStart",
    "all_runs",
    "is_secret",
    "new_folder",
    "utc_text",
    "write_json",
]

MOST_BYTES = 4 << 20
"""A run.json or result.json is a few kB; more than this is something else."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|KEY", re.IGNORECASE)

Outcome = Literal["succeeded", "failed", "interrupted", "out-of-memory", "no-space", "hung", "unproven"]


class ImageUsed(msgspec.Struct, frozen=True, kw_only=True):
    """The image of a run."""

    reference: str | None = None
    digest: str | None = None
    """Of a registry where there is one, else the engine's own id; both are `sha256:…`."""


class RunStart(msgspec.Struct, frozen=True, kw_only=True):
    """run.json: what was started. Everything may be absent, because a reader has to live with torn files."""

    schema: int = 1
    model: str = ""
    job: str = ""
    platform: str = ""
    variant: str | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    image: ImageUsed = ImageUsed()
    devices: tuple[str, ...] = ()
    uid: int = -1
    gid: int = -1
    host: str = ""
    started: str = ""
    drivebuild: str | None = None


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """result.json: how it ended. Absent while the job runs."""

    schema: int = 1
    status: Outcome
    exit_code: int
    reason: str
    signal: str | None = None
    command_status: int | None = None
    finished: str = ""
    seconds: float = 0.0
    evidence: tuple[str, ...] = ()


_Kind = TypeVar("_Kind", RunStart, RunResult)


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """`<model>/<job>/<time>`, by which commands name a run."""
        return "/".join(self.path.parts[-3:])

    @property
    def log(self) -> Path:
        """Everything the job printed."""
        return self.path / "job.log"

    def start(self) -> RunStart:
        """Return run.json; an empty one when it is torn, missing or something else."""
        return self._read("run.json", RunStart) or RunStart()

    def result(self) -> RunResult | None:
        """Return result.json, or None when it is not there or cannot be read."""
        return self._read("result.json", RunResult)

    def ended(self) -> bool:
        """Return whether there is a result.json, readable or not."""
        return os.path.lexists(self.path / "result.json")

    def write_result(self, result: RunResult) -> RunResult:
        """Write result.json, unless the job did: then that one is returned.

        Raises:
            RunError: when the folder cannot be written.
        """
        known = self.result()
        if known is not None:
            return known
        write_json(self.path / "result.json", result)
        return result

    def seconds_since_start(self, now: float) -> float:
        """Return the age of the run by its run.json, or 0 when that does not say."""
        started = _seconds(self.start().started)
        return max(0.0, now - started) if started is not None else 0.0

    def tail(self, size: int) -> bytes:
        """Return the last bytes of job.log, from a line's beginning; nothing when there is none."""
        with contextlib.suppress(OSError):
            # Not a link that leads elsewhere, and not a pipe that never ends.
            descriptor = os.open(self.log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - size))
                text = file.read(size)
                return text if end <= size else text.partition(b"\n")[2]
        return b""

    def _read(self, name: str, kind: type[_Kind]) -> _Kind | None:
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                return msgspec.json.decode(file.read(MOST_BYTES), type=kind)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


def new_folder(runs: Path, model: str, job: str, now: float) -> RunFolder:
    """Make the folder of a new run, named by the time in UTC; two of one second get a number.

    Raises:
        RunError: when it cannot be made.
    """
    base = runs / model / job
    name = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    try:
        base.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = base / (name if number == 1 else f"{name}-{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return RunFolder(folder)
    except OSError as error:
        message = f"the run folder {base} cannot be made: {error.strerror}"
        raise RunError(message, hint="RUNS_ROOT in .env names another folder") from error
    raise RunError(f"{base}: too many runs in one second")


def all_runs(runs: Path) -> Iterator[RunFolder]:
    """Yield every run, newest first; what is no run folder is passed over."""
    found: list[RunFolder] = []
    for job in (job for model in _folders(runs) for job in _folders(model)):
        found.extend(RunFolder(path) for path in _folders(job))
    yield from sorted(found, key=lambda run: (run.path.name, run.name), reverse=True)


def is_secret(name: str) -> bool:
    """Return whether a variable's value must not be written down."""
    return bool(_SECRET.search(name))


def utc_text(now: float) -> str:
    """Return a time as run folders write it: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Write a file whole or not at all.

    Raises:
        RunError: when it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunError(f"{path}: {error.strerror}") from error


def _folders(path: Path) -> list[Path]:
    try:
        return [Path(entry) for entry in os.scandir(path) if _NAME.match(entry.name) and entry.is_dir()]
    except OSError:
        return []


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None

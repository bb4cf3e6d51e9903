"""Run folders and log files, opened: what was run, how it ended, and where its logs are."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from builder.errors import RunError, UsageError

__all__ = ["Source", "chunks", "find_run", "open_log", "open_run"]

RECORD = "run.json"
LARGEST = 16 << 20
"""Bytes of run.json, result.json or manifest.json; drivebuild writes some kB."""
CHUNK = 1 << 20
MOST_FILES = 200_000
"""Files below outputs/ that are looked through for mmcv's JSON logs."""


class Source(Struct, frozen=True, kw_only=True):
    """One run folder, or one log file of unknown origin (`record` is empty then)."""

    name: str
    path: Path
    log: Path
    json_logs: tuple[Path, ...] = ()
    record: Mapping[str, Any] = {}
    result: Mapping[str, Any] = {}
    manifest: Mapping[str, Any] = {}


def find_run(word: str, root: Path) -> Path:
    """Return the path that a word means: a path, or a run below `root` by its whole name or the end of it.

    Raises:
        UsageError: when there is none, or more than one.
    """
    if Path(word).exists():
        return Path(word)
    parts = [part for part in Path(word).parts if part not in ("/", "..")]
    if not parts or Path(word).is_absolute():
        raise UsageError(f"{word}: no such file or folder")
    depth = 3 - len(parts)
    found = sorted(root.glob("/".join(["*"] * max(depth, 0) + parts))) if _plain(parts) else []
    runs = [path for path in found if (path / RECORD).is_file()]
    if len(runs) > 1:
        names = ", ".join(path.relative_to(root).as_posix() for path in runs[:5])
        raise UsageError(f"{word}: {len(runs)} runs have that name: {names}", hint="give more of it: MODEL/JOB/NAME")
    if not runs:
        raise UsageError(
            f"{word}: no such file or folder, and no run of that name below {root}",
            hint="give a run folder, a log file, or MODEL/JOB/NAME; --runs names another place of runs",
        )
    return runs[0]


def _plain(parts: list[str]) -> bool:
    return not any(sign in part for part in parts for sign in "*?[")


def open_run(path: Path) -> Source:
    """Return a run folder's records and logs.

    Raises:
        RunError: when it is no run folder, or a record in it cannot be read.
    """
    if not (path / RECORD).exists():
        raise RunError(f"{path}: no {RECORD} in it, so it is no run folder", hint="give a log file and --model")
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - a name for people: links keep their names
    return Source(
        name="/".join(absolute.parts[-3:]),
        path=path,
        log=path / "job.log",
        json_logs=tuple(sorted(_json_logs(path / "outputs"), key=lambda item: (item.name, str(item)))),
        record=_read(path / RECORD),
        result=_read(path / "result.json", missing_ok=True),
        manifest=_read(path / "manifest.json", missing_ok=True),
    )


def open_log(path: Path) -> Source:
    """Return a log file as a source without records."""
    return Source(name=path.name, path=path, log=path)


def _read(path: Path, *, missing_ok: bool = False) -> Mapping[str, Any]:
    try:
        if missing_ok and not path.exists():
            return {}
        if path.stat().st_size > LARGEST:
            raise RunError(f"{path}: larger than {LARGEST >> 20} MiB; drivebuild did not write it")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise RunError(f"{path}: not a JSON object")
    return data


def _json_logs(folder: Path) -> Iterator[Path]:
    seen = 0
    for place, _, files in os.walk(folder):
        for name in files:
            seen += 1
            if name.endswith(".log.json"):
                path = Path(place) / name
                if path.is_file() and not path.is_symlink():
                    yield path
        if seen > MOST_FILES:
            return


def chunks(path: Path) -> Iterator[bytes]:
    """Yield a regular file's bytes.

    Raises:
        RunError: when it cannot be read, or is a pipe, a device or a folder.
    """
    try:
        # Opening a pipe that nobody writes to would wait for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RunError(f"{path}: not a regular file")
            while data := file.read(CHUNK):
                yield data
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error

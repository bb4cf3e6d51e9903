"""The full log of a build, as a person reads it: every line says which stage it is from."""

from __future__ import annotations

import errno
import fcntl
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from builder.engine.progress import Event, Log, Text, Vertex
from builder.engine.state import BuildState
from builder.errors import BuildError

__all__ = ["BuildLog", "begun_log", "unwritable"]


def begun_log(folder: Path, start: float) -> BuildLog:
    """Begin the log of a build that began at a time in seconds since 1970, in a file of its own.

    Its name is the second, and a number for another one of the same second: names are in the order of time.

    Raises:
        BuildError: when the disk does not take it.
    """
    second = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(start))
    for number in count(1):
        with suppress(FileExistsError):
            return BuildLog(folder / (f"{second}.log" if number == 1 else f"{second}_{number}.log"))
    raise AssertionError("numbers do not end")


class BuildLog:
    """Writes events to a new file while they come, so that `tail -f` works."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()
        self._broken = False
        try:
            # Unbuffered: an error of the disk is met where the line is written, and not once more at the end.
            self._file = path.open("xb", buffering=0)
            # Until this process ends, `clean` knows that somebody builds here. A disk may know no locks.
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileExistsError:
            raise
        except OSError as error:
            raise unwritable(path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def text(self, line: str) -> None:
        """Write one line of drivebuild's own.

        Raises:
            BuildError: when the disk does not take it; only the first time.
        """
        self._write(f"# {line}\n")

    def event(self, event: Event, state: BuildState) -> None:
        """Write what an event says, if it says anything a person wants to read.

        Raises:
            BuildError: when the disk does not take it; only the first time.
        """
        if isinstance(event, Text):
            self._write(f"{event.line}\n")
        elif isinstance(event, Vertex):
            self._vertex(event)
        elif isinstance(event, Log):
            self._log(event, state.stage_of(event.vertex))

    def _vertex(self, event: Vertex) -> None:
        states = {
            "started": event.started is not None and not event.cached,
            "cached": event.cached,
            f"failed: {event.error}": bool(event.error),
        }
        for word, holds in states.items():
            if holds and (event.digest, word) not in self._said:
                self._said.add((event.digest, word))
                self._write(f"# {event.name}: {word}\n")

    def _log(self, event: Log, stage: str) -> None:
        lines = (self._partial.pop(event.vertex, "") + event.data).split("\n")
        rest = lines.pop()
        if rest:
            self._partial[event.vertex] = rest
        for line in lines:
            # Progress bars rewrite their line; only its last form is kept.
            self._write(f"{stage} | {line.rstrip().rsplit(chr(13), 1)[-1]}\n")

    def _write(self, text: str) -> None:
        if self._broken:
            return
        view = memoryview(text.encode(errors="replace"))
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self._broken = True
            raise unwritable(self.path, error) from error


def unwritable(path: Path, error: OSError) -> BuildError:
    """Return what a person is told about a log or record that the system does not take."""
    full = "that disk is full: make room, or " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
    return BuildError(
        f"{path}: {error.strerror}", hint=f"{full}XDG_STATE_HOME names another place for logs and records"
    )

"""The full log of a build, as a person reads it: every line says which stage it is from."""

from __future__ import annotations

from pathlib import Path

from builder.engine.progress import Event, Log, Text, Vertex
from builder.engine.state import BuildState
from builder.errors import BuildError

__all__ = ["BuildLog"]


class BuildLog:
    """Writes events to a file while they come, so that `tail -f` works."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()
        try:
            self._file = path.open("w", encoding="utf-8", errors="replace", buffering=1)
        except OSError as error:
            raise BuildError(f"{path}: {error.strerror}", hint="XDG_STATE_HOME names another place") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def text(self, line: str) -> None:
        """Write one line of drivebuild's own."""
        self._file.write(f"# {line}\n")

    def event(self, event: Event, state: BuildState) -> None:
        """Write what an event says, if it says anything a person wants to read."""
        if isinstance(event, Text):
            self._file.write(f"{event.line}\n")
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
                self._file.write(f"# {event.name}: {word}\n")

    def _log(self, event: Log, stage: str) -> None:
        lines = (self._partial.pop(event.vertex, "") + event.data).split("\n")
        rest = lines.pop()
        if rest:
            self._partial[event.vertex] = rest
        for line in lines:
            # Progress bars rewrite their line; only its last form is kept.
            self._file.write(f"{stage} | {line.rstrip().rsplit(chr(13), 1)[-1]}\n")

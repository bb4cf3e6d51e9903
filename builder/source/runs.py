"""What this package needs of a runner of processes; builder/cli hands in that of builder/engine/process.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from builder.errors import DrivebuildError, SourceError

__all__ = ["Done", "Runner", "Stop", "Tell", "env_words", "finished", "follow"]

Stop = Callable[[], bool]
"""Whether to give up: the way out for a thread, which no Ctrl-C reaches."""
Tell = Callable[[int, int], None]
"""Is told bytes done and bytes in total; a total of 0 is not known yet."""
KEPT = 64 << 10
"""Bytes of a long command's output that are kept for its error: the end says why."""


class Done(Protocol):
    """What a finished command left."""

    @property
    def code(self) -> int:
        """The exit status."""
        ...

    @property
    def stdout(self) -> bytes:
        """Standard output."""
        ...

    @property
    def stderr(self) -> bytes:
        """Standard error."""
        ...


class Runner(Protocol):
    """Starts commands."""

    def run(self, argv: tuple[str, ...], *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
        """Run a command to its end and return what it printed."""
        ...

    def stream(
        self, argv: tuple[str, ...], feed: Callable[[bytes], None], *, tick: float = 0.25, stdin: bytes = b""
    ) -> int:
        """Run a command, hand all its output to `feed`, and an empty piece where `tick` seconds had none."""
        ...


def env_words(add: Mapping[str, str], remove: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the words that, before a command, change its environment: a stream takes no environment of its own."""
    dropped = (word for name in remove for word in ("-u", name))
    return ("env", *dropped, *(f"{name}={value}" for name, value in add.items()))


def finished(runner: Runner, argv: tuple[str, ...], *, stdin: bytes = b"", program: str = "") -> Done:
    """Run a short command.

    Raises:
        SourceError: when the program is not installed.
    """
    try:
        return runner.run(argv, stdin=stdin)
    except SourceError:
        raise
    except DrivebuildError as error:
        raise SourceError(error.message, hint=error.hint or _install(program or argv[0])) from error


def follow(
    runner: Runner, argv: tuple[str, ...], *, stop: Stop, hear: Callable[[bytes], None] | None = None, program: str = ""
) -> tuple[int, str]:
    """Run a long command; return its exit status and the end of what it said. `stop` ends it, with its children.

    Raises:
        SourceError: when the program is not installed, or `stop` said so.
    """
    kept = bytearray()

    def feed(piece: bytes) -> None:
        if stop():
            raise SourceError("interrupted")
        kept.extend(piece)
        del kept[:-KEPT]
        if hear and piece:
            hear(piece)

    try:
        code = runner.stream(argv, feed)
    except SourceError:
        raise
    except DrivebuildError as error:
        raise SourceError(error.message, hint=error.hint or _install(program or argv[0])) from error
    return code, kept.decode("utf-8", "replace")


def _install(program: str) -> str:
    return f"install {program}"

"""The only door to processes. A command is a tuple of words, never a shell's line."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from builder.errors import DrivebuildError
from builder.signals import ends_like_ctrl_c, postponed_interrupts

__all__ = ["Argv", "CommandMissingError", "Result", "Runner", "SystemRunner"]

Argv = tuple[str, ...]
Feed = Callable[[bytes], None]
"""Takes a piece of output; an empty piece means that a tick passed without any."""

PATIENCE = 10.0
"""Seconds a command has to end after an interrupt, before it is killed."""
LAST_PIECES = 16
"""Of 64 KiB, which is all that a pipe holds."""


class CommandMissingError(DrivebuildError):
    """A program that is not installed; who runs it knows the hint."""

    exit_code = 6

    def __init__(self, program: str) -> None:
        super().__init__(f"`{program}` is not installed, or not on PATH")
        self.program = program


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished command left."""

    code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def text(self) -> str:
        """Standard output as text, without white space around it."""
        return self.stdout.decode("utf-8", "replace").strip()

    @property
    def complaint(self) -> str:
        """Standard error as text, without white space around it."""
        return self.stderr.decode("utf-8", "replace").strip()


class Runner(Protocol):
    """Starts commands. Tests bring one that only writes down what it was asked."""

    def run(self, argv: Argv, *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Result:
        """Run a command to its end and return what it printed.

        Raises:
            CommandMissingError: when there is no such program.
        """
        ...

    def stream(
        self,
        argv: Argv,
        feed: Feed,
        *,
        tick: float = 0.25,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command, hand its output to `feed` as it comes, and return the exit status.

        Raises:
            CommandMissingError: when there is no such program.
            KeyboardInterrupt: after Ctrl-C, SIGTERM or SIGHUP, when the command and its children have ended.
        """
        ...

    def pipe(
        self, first: Argv, second: Argv, feed: Feed, *, tick: float = 0.25, env: Mapping[str, str] | None = None
    ) -> tuple[Result, Result]:
        """Run `first | second`; `feed` gets what `first` says on standard error.

        Raises:
            CommandMissingError: when one of the programs is missing.
            KeyboardInterrupt: as `stream`.
        """
        ...


class SystemRunner:
    """Starts real processes, each in a session of its own, so that an interrupt reaches all of it or nothing.

    `stop`, once set, ends what runs as Ctrl-C does: for threads, which no signal reaches.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop

    def run(self, argv: Argv, *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Result:
        """See `Runner.run`."""
        with _given(stdin, self._stop) as source:
            pipes: dict[str, Any] = {"stdin": source, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            with _interruptible() as started:
                process = _start(started, argv, env=env, **pipes)
                if self._stop is None:
                    stdout, stderr = process.communicate(stdin)
                else:
                    stdout, stderr = _communicate(process, self._stop)
        return Result(process.returncode, stdout, stderr)

    def stream(
        self,
        argv: Argv,
        feed: Feed,
        *,
        tick: float = 0.25,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> int:
        """See `Runner.stream`."""
        source = subprocess.PIPE if stdin else subprocess.DEVNULL
        pipes: dict[str, Any] = {"stdin": source, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with _interruptible(feed) as started:
            process = _start(started, argv, env=env, **pipes)
            if process.stdin:
                process.stdin.write(stdin)
                process.stdin.close()
            _drain(process.stdout, feed, tick, self._stop)
            return process.wait()

    def pipe(
        self, first: Argv, second: Argv, feed: Feed, *, tick: float = 0.25, env: Mapping[str, str] | None = None
    ) -> tuple[Result, Result]:
        """See `Runner.pipe`."""
        kept = bytearray()

        def keep(piece: bytes) -> None:
            kept.extend(piece)
            feed(piece)

        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with _interruptible() as started:
            writer = _start(started, first, env=env, stdin=subprocess.DEVNULL, **pipes)
            reader = _start(started, second, stdin=writer.stdout, **pipes)
            if writer.stdout:
                # Only the reader may hold it: else the writer never learns that the reader has gone.
                writer.stdout.close()
            _drain(writer.stderr, keep, tick, self._stop)
            stdout, stderr = reader.communicate()
            return Result(writer.wait(), b"", bytes(kept)), Result(reader.returncode, stdout, stderr)


def _start(
    started: list[subprocess.Popen[bytes]], argv: Argv, *, env: Mapping[str, str] | None = None, **streams: Any
) -> subprocess.Popen[bytes]:
    """Start a command and note it in `started`; an interrupt comes before, or after, when there is who ends it."""
    with postponed_interrupts():
        try:
            process = subprocess.Popen(
                argv,
                start_new_session=True,
                # What a command writes must not depend on the caller's umask: file modes are part of cache keys.
                umask=0o022,
                env={**os.environ, **env} if env else None,
                **streams,
            )
        except FileNotFoundError as error:
            raise CommandMissingError(argv[0]) from error
        started.append(process)
    return process


@contextlib.contextmanager
def _given(stdin: bytes, stop: threading.Event | None) -> Iterator[int | IO[bytes]]:
    """Yield what a command reads: a pipe, or where its end is waited for in pieces, a file.

    Python's communicate() forgets the rest of what it is to write when its patience ends.
    """
    if stop is None:
        yield subprocess.PIPE
    elif not stdin:
        yield subprocess.DEVNULL
    else:
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            yield file


def _communicate(process: subprocess.Popen[bytes], stop: threading.Event) -> tuple[bytes, bytes]:
    while True:
        _check(stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=0.25)


def _check(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise KeyboardInterrupt


def _drain(stream: IO[bytes] | None, feed: Feed, tick: float, stop: threading.Event | None = None) -> None:
    if stream is None:
        return
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            _check(stop)
            if not selector.select(tick):
                feed(b"")
                continue
            piece = os.read(stream.fileno(), 1 << 16)
            if not piece:
                return
            feed(piece)


@contextlib.contextmanager
def _interruptible(feed: Feed | None = None) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield the list of what is started; whatever leaves the block early stops that first."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        with ends_like_ctrl_c():
            yield started
    except BaseException:
        _stop(started, feed)
        raise
    finally:
        for process in started:
            _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def _stop(processes: Sequence[subprocess.Popen[bytes]], feed: Feed | None = None) -> None:
    """Interrupt the processes, give them time to end in order, and kill what is left."""
    try:
        _signal(processes, signal.SIGINT)
        deadline = time.monotonic() + PATIENCE
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            if not _read_rest(processes[0], feed, 0.05):
                time.sleep(0.05)
    finally:
        _signal(processes, signal.SIGKILL)
        for process in processes:
            process.wait()
    # What they said last, which nobody has read yet. Who outlives them may hold the pipe, and write for ever.
    for _ in range(LAST_PIECES):
        if not (processes and _read_rest(processes[0], feed, 0)):
            break


def _read_rest(process: subprocess.Popen[bytes], feed: Feed | None, seconds: float) -> bool:
    """Read what a stopping process still says: a full pipe would keep it from ending. False: there is nothing."""
    if process.stdout is None or process.stdout.closed:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        piece = os.read(process.stdout.fileno(), 1 << 16) if selector.select(seconds) else b""
    if piece and feed:
        feed(piece)
    return bool(piece)


def _signal(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Protocol

from builder.errors import DrivebuildError
from builder.signals import ends_like_ctrl_c

__all__ = ["Argv", "CommandMissingError", "Result", "Runner", "SystemRunner"]

Argv = tuple[str, ...]
Feed = Callable[[bytes], None]
"""Takes a piece of output; an empty piece means that a tick passed without any."""

PATIENCE = 10.0
"""Seconds a command has to end after an interrupt, before it is killed."""


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
            process = _start(argv, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
            with _interruptible((process,)):
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
        process = _start(argv, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        with _interruptible((process,), feed):
            if process.stdin:
                process.stdin.write(stdin)
                process.stdin.close()
            _drain(process.stdout, feed, tick, self._stop)
            return process.wait()

    def pipe(
        self, first: Argv, second: Argv, feed: Feed, *, tick: float = 0.25, env: Mapping[str, str] | None = None
    ) -> tuple[Result, Result]:
        """See `Runner.pipe`."""
        writer = _start(first, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        try:
            reader = _start(second, stdin=writer.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except CommandMissingError:
            _stop((writer,))
            _close(writer)
            raise
        if writer.stdout:
            # Only the reader may hold it: else the writer never learns that the reader has gone.
            writer.stdout.close()
        kept = bytearray()

        def keep(piece: bytes) -> None:
            kept.extend(piece)
            feed(piece)

        with _interruptible((writer, reader)):
            _drain(writer.stderr, keep, tick, self._stop)
            stdout, stderr = reader.communicate()
            return Result(writer.wait(), b"", bytes(kept)), Result(reader.returncode, stdout, stderr)


def _start(argv: Argv, *, env: Mapping[str, str] | None = None, **streams: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            start_new_session=True,
            # What a command writes must not depend on the caller's umask: file modes are part of cache keys.
            umask=0o022,
            env={**os.environ, **env} if env else None,
            **streams,
        )
    except FileNotFoundError as error:
        raise CommandMissingError(argv[0]) from error


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
def _interruptible(processes: tuple[subprocess.Popen[bytes], ...], feed: Feed | None = None) -> Iterator[None]:
    """Whatever leaves the block early stops the processes first."""
    try:
        with ends_like_ctrl_c():
            yield
    except BaseException:
        _stop(processes, feed)
        raise
    finally:
        for process in processes:
            _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def _stop(processes: tuple[subprocess.Popen[bytes], ...], feed: Feed | None = None) -> None:
    """Interrupt the processes, give them time to end in order, and kill what is left."""
    try:
        _signal(processes, signal.SIGINT)
        deadline = time.monotonic() + PATIENCE
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            _read_rest(processes[0], feed)
    finally:
        _signal(processes, signal.SIGKILL)
        for process in processes:
            process.wait()


def _read_rest(process: subprocess.Popen[bytes], feed: Feed | None) -> None:
    """Read what a stopping process still says: a full pipe would keep it from ending."""
    if process.stdout is None or process.stdout.closed:
        time.sleep(0.05)
        return
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if selector.select(0.05):
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if piece and feed:
                feed(piece)
            elif not piece:
                time.sleep(0.05)


def _signal(processes: tuple[subprocess.Popen[bytes], ...], number: signal.Signals) -> None:
    for process in processes:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

"""A run's container from its start to its end: its output, signals for it, an engine that goes away, and the result.

The container runs detached from any process here. So whoever watches may die: the job goes on, writes its own result,
and the next command of drivebuild removes what is left.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from builder.engine.containers import FOLDER, Container, Containers, GoneError
from builder.engine.rundir import RunFolder, RunResult, utc_text
from builder.errors import RunError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Signals", "Watcher", "settle", "verdict"]

TICK = 0.2
ENGINE_PATIENCE = 90.0
"""Seconds an engine has to come back: a restart of one with many containers takes a while."""
KILL_AFTER = 15.0
"""Seconds after a second signal: by then the job has killed its processes, or cannot."""
APART = 1.5
"""Seconds between two signals that the job is handed: it takes two of one second for one (`TWICE` of job_run.py)."""
KEPT = 2000
"""Bytes of output that are kept for a job that leaves no result."""
Feed = Callable[[bytes], None]
Say = Callable[[str], None]


class Signals:
    """Notes signals in place of obeying them, while in use as a context."""

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        """Take the handlers over. A signal that the caller ignores, as under nohup, stays ignored."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._waiting.append(number)

    def take(self) -> Iterator[int]:
        """Yield what has come since the last time."""
        while self._waiting:
            yield self._waiting.popleft()


class Watcher:
    """Watches one container to its end."""

    def __init__(self, containers: Containers, name: str, folder: RunFolder, *, feed: Feed, say: Say) -> None:
        self._containers, self._name, self._folder = containers, name, folder
        self._feed, self._say = feed, say
        self._signals: list[int] = []
        self._handed_at = self._again_at = self._kill_at = 0.0
        self._tail = b""
        self._last: Container | None = None

    def watch(self, signals: Signals) -> RunResult:
        """Return the result of the run; the container is gone then.

        Raises:
            RunError: when the result cannot be written.
        """
        since = 0
        while True:
            began = int(time.time())
            self._follow(signals, since)
            state = self._state(signals)
            if state is None or not state.running:
                break
            # The stream ended and the container did not: the engine was restarted under it.
            since = began if not since else max(since, began)
            time.sleep(TICK)
        result = self._folder.write_result(
            verdict(self._last if state is None else state, self._folder, gone=state is None, said=self._tail)
        )
        self._containers.remove(self._name)
        return result

    def _follow(self, signals: Signals, since: int) -> None:
        pieces: queue.Queue[bytes | None] = queue.Queue(maxsize=256)
        threading.Thread(target=self._read, args=(pieces, since), daemon=True).start()
        while True:
            self._obey(signals)
            try:
                piece = pieces.get(timeout=TICK)
            except queue.Empty:
                self._feed(b"")
                continue
            if piece is None:
                return
            self._tail = (self._tail + piece)[-KEPT:]
            self._feed(piece)

    def _read(self, pieces: queue.Queue[bytes | None], since: int) -> None:
        """Run in a thread: the engine's stream cannot be waited for together with signals."""
        try:
            try:
                for piece in self._containers.output(self._name, since=since):
                    pieces.put(piece)
            except GoneError as error:
                if "does not support reading" in str(error):
                    for piece in self._containers.attached(self._name):
                        pieces.put(piece)
        except GoneError:
            pass
        finally:
            pieces.put(None)

    def _obey(self, signals: Signals) -> None:
        for number in signals.take():
            self._signals.append(number)
            if len(self._signals) == 1:
                self._say(f"{signal.Signals(number).name}: stopping the job; once more kills it")
                self._hand_on(number)
                self._handed_at = time.monotonic()
            elif len(self._signals) == 2:
                self._say("killing the job")
                self._again_at = max(time.monotonic(), self._handed_at + APART)
            else:
                self._kill_at = time.monotonic()
        if self._again_at and time.monotonic() >= self._again_at:
            self._again_at = 0.0
            self._hand_on(self._signals[1])
            self._kill_at = self._kill_at or time.monotonic() + KILL_AFTER
        if self._kill_at and time.monotonic() >= self._kill_at:
            self._kill_at = 0.0
            self._containers.signal(self._name, signal.SIGKILL)

    def _hand_on(self, number: int) -> None:
        # A terminal that is gone is no reason for a job; it is one for who has no terminal any more to end it.
        self._containers.signal(self._name, signal.SIGTERM if number == signal.SIGHUP else number)

    def _state(self, signals: Signals) -> Container | None:
        """Return the container, or None when it is gone; an engine that does not answer gets time to come back."""
        deadline = time.monotonic() + ENGINE_PATIENCE
        told = False
        while True:
            try:
                self._last = self._containers.find(self._name)
            except GoneError as error:
                if error.missing or time.monotonic() > deadline or any(signals.take()):
                    return None
                if not told:
                    self._say("the engine does not answer; waiting for it")
                    told = True
                time.sleep(1.0)
            else:
                return self._last


def verdict(state: Container | None, folder: RunFolder, *, gone: bool, said: bytes = b"") -> RunResult:
    """Return the result of a run whose job may have left none; the job's own is taken where there is one."""
    known = folder.result()
    if known is not None:
        return known
    words = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    status, code, reason, name = "failed", 7, "", None
    if gone or state is None:
        reason = "the container vanished without a result: removed from outside, or the engine was restarted or gave up"
    elif state.killed_for_memory:
        status, reason, name = "out-of-memory", "the container ran out of memory and was killed whole", "SIGKILL"
    elif state.exit_code == 125:
        reason = _refusal(words)
    elif state.exit_code in (129, 130, 143):
        status, code = "interrupted", state.exit_code
        name = signal.Signals(code - 128).name
        reason = f"it was stopped by {name} before it began"
    elif state.exit_code == 137:
        name = "SIGKILL"
        reason = "the container was killed from outside, or the engine was restarted: there is no result"
    elif state.error:
        reason = f"the container could not start: {state.error}"
    else:
        reason = f"the container ended with status {state.exit_code} and left no result"
    return RunResult(
        status=status,  # type: ignore[arg-type]
        exit_code=code,
        reason=reason,
        signal=name,
        command_status=None,
        finished=utc_text(time.time()),
        seconds=round(folder.seconds_since_start(time.time()), 3),
        evidence=tuple(line[:500] for line in words[-5:]),
    )


def settle(containers: Containers) -> tuple[str, ...]:
    """Remove containers of runs that ended while nobody watched, and write the results they lack; return their runs."""
    done = []
    try:
        ended = [each for each in containers.of_runs() if each.ended]
    except GoneError:
        return ()
    for container in ended:
        folder = RunFolder(Path(container.labels.get(FOLDER, "/")))
        if folder.path.is_dir():
            if not os.access(folder.path, os.W_OK):
                # Another user's: theirs to clear away.
                continue
            with contextlib.suppress(RunError):
                folder.write_result(verdict(container, folder, gone=False, said=containers.printed(container.name)))
        containers.remove(container.name)
        done.append(folder.name)
    return tuple(done)


def _refusal(words: list[str]) -> str:
    said = [line.removeprefix("drivebuild-job: ").strip() for line in words[-6:]]
    return f"the image refused to start it: {' '.join(said)}" if said else "the image refused to start it"

"""Runs tasks in threads: all of them, whatever fails; and gone at once when a person presses Ctrl-C."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from builder.errors import SourceError

__all__ = ["Task", "run_all"]

Result = TypeVar("Result")
Task = Callable[[Callable[[], bool]], Result]
"""Does something; what it is given says whether to stop."""
GRACE = 2.0
"""Seconds that threads are given to notice that they are to stop."""


class _Run(Generic[Result]):
    def __init__(self, tasks: Sequence[Task[Result]]) -> None:
        self.tasks = tasks
        self.todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.results: dict[int, Result] = {}
        self.errors: dict[int, BaseException] = {}
        self.stop = threading.Event()

    def work(self) -> None:
        """Do tasks until there is none: one thread's life."""
        while True:
            try:
                number = self.todo.get_nowait()
            except queue.Empty:
                return
            self._one(number)
            self.done.put(number)

    def _one(self, number: int) -> None:
        if self.stop.is_set():
            return
        try:
            self.results[number] = self.tasks[number](self.stop.is_set)
        except BaseException as error:  # noqa: BLE001  it is raised again, in the caller's thread
            self.errors[number] = error
            if not isinstance(error, SourceError) or _of_disk(error):
                self.stop.set()


def run_all(tasks: Sequence[Task[Result]], *, at_once: int) -> tuple[Result, ...]:
    """Return the results of all tasks, in their order.

    The threads are daemons: one that hangs in the network must not keep the process from ending. An error of the disk
    stops the others, which would only meet it again.

    Raises:
        SourceError: when tasks failed, with the messages of all of them; the others were finished before.
    """
    run = _Run(tasks)
    for number in range(len(tasks)):
        run.todo.put(number)
    threads = [threading.Thread(target=run.work, daemon=True) for _ in range(min(at_once, len(tasks)))]
    for thread in threads:
        thread.start()
    try:
        for _ in tasks:
            run.done.get()
    except BaseException:
        run.stop.set()
        for thread in threads:
            thread.join(GRACE / len(threads))
        raise
    _raise([run.errors[number] for number in sorted(run.errors)], len(tasks))
    return tuple(run.results[number] for number in range(len(tasks)))


def _of_disk(error: BaseException) -> bool:
    return isinstance(error.__cause__, OSError)


def _raise(errors: Sequence[BaseException], tasks: int) -> None:
    known = [error for error in errors if isinstance(error, SourceError)]
    for error in errors:
        # An error of the disk comes alone: what else failed was stopped because of it.
        if not isinstance(error, SourceError) or _of_disk(error) or len(errors) == 1:
            raise error
    if known:
        hints = dict.fromkeys(error.hint for error in known if error.hint)
        messages = "\n".join(error.message for error in known)
        raise SourceError(f"{len(known)} of {tasks} failed:\n{messages}", hint="; ".join(hints))

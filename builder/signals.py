"""`kill` and a closed terminal end a command in order, as Ctrl-C does: what it has half written goes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["ends_like_ctrl_c", "noted_interrupts", "postponed_interrupts"]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ends_like_ctrl_c() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into a KeyboardInterrupt; SIGINT too, which a shell's background jobs ignore otherwise.

    In another thread than the main one, which no signal reaches, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt):
        yield


@contextmanager
def noted_interrupts() -> Iterator[threading.Event]:
    """Yield an event that the same signals set, for who has threads to end first; the second raises KeyboardInterrupt.

    In another thread than the main one, which no signal reaches, nothing sets it.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(_number: int, _frame: object) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    with _handled(note):
        yield noted


@contextmanager
def postponed_interrupts() -> Iterator[None]:
    """Put the same signals off until the end of the block: nothing comes between the start of a thing and its name."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    try:
        with _handled(lambda number, _frame: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle them while the block runs; all but a closed terminal that the caller ignores, as `nohup` does."""
    numbers = [
        number for number in _ENDING if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)

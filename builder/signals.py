"""`kill` and a closed terminal end a command in order, as Ctrl-C does: what it has half written goes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ends_like_ctrl_c", "noted_interrupts"]

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

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

    before = {number: signal.signal(number, note) for number in _ENDING}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

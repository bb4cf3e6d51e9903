"""`kill` and a closed terminal end a command in order, as Ctrl-C does: what it has half written goes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ends_like_ctrl_c"]


@contextmanager
def ends_like_ctrl_c() -> Iterator[None]:
    """Turn the first SIGTERM or SIGHUP into a KeyboardInterrupt; those that follow do not disturb the clearing up.

    In another thread than the main one, which no signal reaches, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = (signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: object) -> None:
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

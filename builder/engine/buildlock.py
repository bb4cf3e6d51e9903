"""One drivebuild at a time is at one image: its log, its record and its name in the engine are those of one build."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builder.engine.folders import build_folder, make_folder

if TYPE_CHECKING:
    import filelock

__all__ = ["alone_with", "try_lock"]

LOCK = "lock"


def try_lock(tag: str) -> filelock.BaseFileLock | None:
    """Return the lock of an image, held; None while another drivebuild has it. It goes with the process, in any case.

    Raises:
        BuildError: when the image's folder cannot be written.
    """
    import filelock

    # Taken by one thread and given back by another.
    lock = filelock.FileLock(make_folder(build_folder(tag)) / LOCK, thread_local=False)
    try:
        return lock.acquire(blocking=False).lock
    except filelock.Timeout:
        return None


@contextmanager
def alone_with(tag: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Wait until no other drivebuild is at the image, and keep others from it; `waiting` is told once, if need be.

    Raises:
        BuildError: when the image's folder cannot be written.
    """
    import filelock

    held = try_lock(tag)
    if held is None:
        waiting()
        held = filelock.FileLock(build_folder(tag) / LOCK)
        held.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        held.release()

"""What packing and unpacking share: work in threads, hashes, where a zstd frame ends, what a full disk is called."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import zstandard

from builder.errors import SourceError

__all__ = ["CHUNK", "Behind", "FrameWalk", "Hashing", "disk_error", "write_all"]

CHUNK = 1 << 17
"""Bytes moved at a time. What is read, hashed and compressed one after the other should still be in the cache."""
AHEAD = 256
"""Pieces that may wait for a hash: enough that nobody waits, some ten megabytes of memory at most."""


def write_all(handle: int, piece: bytes) -> None:
    """Write bytes, however few of them the system takes at a time."""
    view = memoryview(piece)
    while view:
        view = view[os.write(handle, view) :]


def disk_error(error: OSError, what: str, hint: str) -> SourceError:
    """Return the system's reason as a message; for a full disk and a file that may not be so large with its remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = f"make room, or {hint}"
    if error.errno == errno.EFBIG:
        hint = f"the file system or a limit (`ulimit -f`) takes no file that large; {hint}"
    return SourceError(f"{what}: {error.strerror or error}", hint=hint)


class FrameWalk:
    """Finds the end of a zstd frame by its block headers, as the bytes pass.

    zstd's own reader takes what stands after a frame for another one, and skips what is marked as skippable. A bundle
    has one frame, with a checksum, and nothing behind it.
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._skip = 0
        self._state = "frame"
        self._checksum = 0

    @property
    def ended(self) -> bool:
        """Whether the frame is complete."""
        return self._state == "end" and not self._skip

    def feed(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            SourceError: for bytes after the frame's end, and for a frame that drivebuild would not write.
        """
        place = 0
        while place < len(piece):
            if self._skip:
                step = min(self._skip, len(piece) - place)
                self._skip -= step
                place += step
                continue
            if self._state == "end":
                raise SourceError("bytes after the end of the compressed stream")
            self._kept.append(piece[place])
            place += 1
            self._step()

    def _step(self) -> None:
        if self._state == "frame" and len(self._kept) == 18:
            self._frame()
        elif self._state == "block" and len(self._kept) == 3:
            self._block()

    def _frame(self) -> None:
        head = bytes(self._kept)
        try:
            facts = zstandard.get_frame_parameters(head)
            length = zstandard.frame_header_size(head)
        except zstandard.ZstdError as error:
            raise SourceError("what follows the header is not zstd") from error
        if not facts.has_checksum or facts.dict_id:
            raise SourceError("the compressed stream has no checksum, or wants a dictionary")
        self._kept.clear()
        self._state = "block"
        self.feed(head[length:])

    def _block(self) -> None:
        word = int.from_bytes(self._kept, "little")
        last, kind, size = word & 1, word >> 1 & 3, word >> 3
        self._kept.clear()
        # A run (kind 1) is one byte, however long it gets. The checksum after the last block has four bytes.
        self._skip = (1 if kind == 1 else size) + (4 if last else 0)
        if last:
            self._state = "end"


class Behind:
    """Calls functions in a thread of its own, one after the other, while the caller goes on.

    Hashing, writing and compressing let go of the interpreter, so each of them may have a core.
    """

    def __init__(self) -> None:
        self._failure: Exception | None = None
        self._queue: queue.Queue[tuple[Callable[..., object], tuple[Any, ...]] | None] = queue.Queue(maxsize=AHEAD)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def do(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called; waits while too much is in line, so memory stays bounded.

        Raises:
            Exception: that of an earlier call. Nothing more is called then.
        """
        if self._failure:
            raise self._failure
        self._queue.put((function, arguments))

    def finish(self) -> None:
        """Wait until all has been called.

        Raises:
            Exception: as `do`.
        """
        self.stop()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """End the thread, whatever has happened."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            function, arguments = item
            try:
                if not self._failure:
                    function(*arguments)
            except Exception as error:  # noqa: BLE001  # raised where the caller is
                self._failure = error


class Hashing(Behind):
    """Hashes a stream: as a whole, or file by file."""

    def __init__(self) -> None:
        self.wrong = ""
        self._hash = hashlib.sha256()
        super().__init__()

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.do(self._update, piece)

    def cut(self, name: str, sha256: str) -> None:
        """End one file and begin the next; the first whose digest differs is named in `wrong`."""
        self.do(self._compare, name, sha256)

    def result(self) -> Any:
        """Wait for the thread and return the hash of what came since the last cut."""
        self.finish()
        return self._hash

    def _update(self, piece: bytes) -> None:
        self._hash.update(piece)

    def _compare(self, name: str, sha256: str) -> None:
        if self._hash.hexdigest() != sha256 and not self.wrong:
            self.wrong = name
        self._hash = hashlib.sha256()

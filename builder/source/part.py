"""A file on its way into the store: what is there of it, what it belongs to, and its sha256 so far."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.source.disk import BLOCK

__all__ = ["Part", "Trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Whose bytes a part holds."""

    url: str = ""
    validator: str = ""
    """The server's strong ETag, or its Last-Modified: what `If-Range` takes."""
    total: int | None = None
    """Bytes."""
    sha256: str = ""
    """Of the whole file, once it is there: should this process end before it is published."""


class Part:
    """A half download, found again by its path. Close it; the bytes stay, whoever is killed."""

    def __init__(self, path: Path) -> None:
        """Open the part at `path` with `.part` and `.json` added. What is there is hashed by `load`, not here."""
        self.path = path.with_name(f"{path.name}.part")
        self._about = path.with_name(f"{path.name}.json")
        self.trace = self._read()
        # Unbuffered: what is written is in the file, though this process be killed.
        self._file = self.path.open("ab", buffering=0)
        self.size = self._file.tell()
        self._sha256 = hashlib.sha256()
        self._hashed = self.size == 0

    def close(self) -> None:
        """Let go of the file. What is empty is nothing to go on from."""
        self._file.close()
        if self.size == 0:
            self.drop()

    def load(self, stop: Callable[[], bool]) -> None:
        """Hash what an earlier run left, once. Ends early when `stop` says so."""
        if self._hashed:
            return
        block = memoryview(bytearray(BLOCK))
        with self.path.open("rb", buffering=0) as file:
            while not stop() and (count := file.readinto(block)):
                self._sha256.update(block[:count])
        self._hashed = True

    @property
    def sha256(self) -> str:
        """Return the sha256 of what is there."""
        return self._sha256.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Add bytes. What a full disk still took counts: the next run goes on after it."""
        view = memoryview(chunk)
        while view:
            count = self._file.write(view)
            self._sha256.update(view[:count])
            self.size += count
            view = view[count:]

    def restart(self) -> None:
        """Throw away what is there."""
        self._file.truncate(0)
        self.size, self._sha256, self._hashed = 0, hashlib.sha256(), True

    def note(self, trace: Trace) -> None:
        """Write down whose bytes follow; before the first of them."""
        if trace != self.trace:
            self.trace = trace
            self._about.write_text(json.dumps(asdict(trace)), encoding="utf-8")

    def drop(self) -> None:
        """Remove what belongs to it."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def _read(self) -> Trace:
        # Written without ceremony: one that is torn says nothing, and the part is begun anew.
        with suppress(OSError, ValueError, TypeError):
            return Trace(**json.loads(self._about.read_text(encoding="utf-8")))
        return Trace()

"""What downloads tell while they run, and one listener that adds it up for a person."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal, Protocol

from builder.source.pace import Pace

__all__ = ["Observer", "Progress", "Silent", "View"]


class Observer(Protocol):
    """Listens to downloads, from any thread. What it raises ends the download."""

    def begin(self, name: str, done: int, total: int | None) -> None:
        """Take in that `name` starts, or starts again, with `done` bytes there of `total`, if that is known."""
        ...

    def advance(self, name: str, count: int) -> None:
        """Take in `count` more bytes of `name`."""
        ...

    def retry(self, name: str, why: str, seconds: float) -> None:
        """Take in that `name` waits `seconds` before it tries again, and why."""
        ...

    def end(self, name: str, error: str) -> None:
        """Take in that `name` is finished, or has failed with a sentence."""
        ...


class Silent:
    """Listens to nothing."""

    def begin(self, name: str, done: int, total: int | None) -> None:
        """Nothing."""

    def advance(self, name: str, count: int) -> None:
        """Nothing."""

    def retry(self, name: str, why: str, seconds: float) -> None:
        """Nothing."""

    def end(self, name: str, error: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How all downloads together stand."""

    finished: int
    failed: int
    files: int
    done: int
    """Bytes, with those that were there from an earlier run."""
    total: int
    """Bytes, as far as sizes are known."""
    unknown: int
    """Files that nobody has told the size of: `total` is without them."""
    speed: float
    """Bytes per second."""
    left: float | None
    """Seconds; files of unknown size are taken to be as large as the others are on average."""
    running: tuple[str, ...]
    """Names, in the order in which they began."""
    news: tuple[str, ...]
    """Why something waits, and what failed, since the last view."""


@dataclass(slots=True)
class _File:
    done: int = 0
    total: int | None = None
    state: Literal["waiting", "running", "finished", "failed"] = "waiting"


class Progress:
    """Adds up what downloads tell. Give it to them as observer, and ask it for views from another thread."""

    def __init__(self, files: int) -> None:
        """Expect so many files."""
        self._expected = files
        self._files: dict[str, _File] = {}
        self._fetched = 0
        self._news: list[str] = []
        self._pace = Pace()
        self._one = threading.Lock()

    def begin(self, name: str, done: int, total: int | None) -> None:
        """Take in that a file starts, or starts again."""
        with self._one:
            self._files[name] = _File(done, total, "running")

    def advance(self, name: str, count: int) -> None:
        """Take in more bytes of a file."""
        with self._one:
            self._files.setdefault(name, _File(state="running")).done += count
            self._fetched += count

    def retry(self, name: str, why: str, seconds: float) -> None:
        """Keep a sentence for the next view."""
        with self._one:
            self._news.append(f"{name}: {why}; again in {seconds:.0f} s" if seconds >= 1 else f"{name}: {why}; again")

    def end(self, name: str, error: str) -> None:
        """Take in how a file ended."""
        with self._one:
            file = self._files.setdefault(name, _File())
            file.state = "failed" if error else "finished"
            file.total = file.done
            if error:
                self._news.append(error)

    def view(self, now: float) -> View:
        """Return how it stands at `now`, in seconds of a clock that does not go back."""
        with self._one:
            files = list(self._files.values())
            known = [file.total for file in files if file.total is not None]
            unknown = max(self._expected, len(files)) - len(known)
            done, total = sum(file.done for file in files), sum(known)
            guess = total + (unknown * total // len(known) if known else 0)
            # What an earlier run left is done, but says nothing about the speed.
            self._pace.note(now, self._fetched)
            news, self._news = tuple(self._news), []
            return View(
                finished=sum(file.state == "finished" for file in files),
                failed=sum(file.state == "failed" for file in files),
                files=max(self._expected, len(files)),
                done=done,
                total=total,
                unknown=unknown,
                speed=self._pace.speed(now),
                left=self._pace.left(now, self._fetched + guess - done) if known else None,
                running=tuple(name for name, file in self._files.items() if file.state == "running"),
                news=news,
            )

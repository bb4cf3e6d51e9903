"""Adds up how far many things are that are fetched at the same time, for who shows it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal, Protocol

from builder.source.pace import Pace

__all__ = ["Observer", "Silent", "Tally", "View"]


class Observer(Protocol):
    """Listens to what is fetched, from any thread."""

    def tell(self, name: str, done: int, total: int) -> None:
        """Take in that `name` has `done` bytes of `total`; a total of 0 is not known yet."""
        ...

    def end(self, name: str, size: int, error: str) -> None:
        """Take in that `name` is finished with so many bytes, or has failed with a sentence."""
        ...


class Silent:
    """Listens to nothing."""

    def tell(self, name: str, done: int, total: int) -> None:
        """Nothing."""

    def end(self, name: str, size: int, error: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How all of it stands."""

    finished: int
    failed: int
    things: int
    done: int
    """Bytes, with those that were there from an earlier run."""
    total: int
    """Bytes, as far as sizes are known."""
    unknown: int
    """Things that nobody has told the size of: `total` is without them."""
    speed: float
    """Bytes per second."""
    left: float | None
    """Seconds; things of unknown size are taken to be as large as the others are on average."""
    running: tuple[str, ...]
    """Names, in the order in which they began."""
    news: tuple[str, ...]
    """What failed since the last view."""


@dataclass(slots=True)
class _Thing:
    first: int
    """Bytes that were there at the beginning: they say nothing about the speed."""
    done: int = 0
    total: int = 0
    state: Literal["running", "finished", "failed"] = "running"


class Tally:
    """An observer that can be asked for a view from another thread."""

    def __init__(self, things: int) -> None:
        """Expect so many things."""
        self._expected = things
        self._things: dict[str, _Thing] = {}
        self._news: list[str] = []
        self._pace = Pace()
        self._one = threading.Lock()

    def tell(self, name: str, done: int, total: int) -> None:
        """See `Observer.tell`."""
        with self._one:
            thing = self._things.setdefault(name, _Thing(first=done))
            # A file begun anew has fewer bytes than before.
            thing.first = min(thing.first, done)
            thing.done, thing.total = done, total

    def end(self, name: str, size: int, error: str) -> None:
        """See `Observer.end`."""
        with self._one:
            thing = self._things.setdefault(name, _Thing(first=0))
            thing.state = "failed" if error else "finished"
            thing.done = thing.done if error else size
            thing.total = thing.done
            if error:
                self._news.append(error)

    def view(self, now: float) -> View:
        """Return how it stands at `now`, in seconds of a clock that does not go back."""
        with self._one:
            things = list(self._things.values())
            known = [thing.total for thing in things if thing.total]
            count = max(self._expected, len(things))
            unknown = count - sum(1 for thing in things if thing.total or thing.state != "running")
            done, total = sum(thing.done for thing in things), sum(known)
            fetched = sum(thing.done - thing.first for thing in things)
            guess = total + (unknown * total // len(known) if known else 0)
            self._pace.note(now, fetched)
            news, self._news = tuple(self._news), []
            return View(
                finished=sum(thing.state == "finished" for thing in things),
                failed=sum(thing.state == "failed" for thing in things),
                things=count,
                done=done,
                total=max(total, done),
                unknown=unknown,
                speed=self._pace.speed(now),
                left=self._pace.left(now, fetched + max(0, guess - done)) if known else None,
                running=tuple(name for name, thing in self._things.items() if thing.state == "running"),
                news=news,
            )

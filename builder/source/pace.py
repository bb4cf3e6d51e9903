"""How fast something goes, and how long it will take. Pure: the clock is handed in."""

from __future__ import annotations

from collections import deque

__all__ = ["Pace"]

WINDOW = 6.0
"""Seconds that a speed is taken over: long enough to be calm, short enough to show that a server has gone slow."""


class Pace:
    """Speed over the last seconds. Feed it the bytes done so far; a count that falls (a file begun anew) is fine."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()
        self._done = 0

    def note(self, now: float, done: int) -> None:
        """Take in that `done` bytes were there at `now`, in seconds of any clock that does not go back."""
        if done < self._done:
            self._marks.clear()
        self._done = done
        self._marks.append((now, done))
        # One mark stays that is older than the window, for the speed to be taken from.
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW:
            self._marks.popleft()

    def speed(self, now: float) -> float:
        """Return bytes per second; 0 as long as nothing can be said."""
        if not self._marks:
            return 0.0
        begin, before = self._marks[0]
        for moment, count in self._marks:
            if now - moment >= WINDOW:
                begin, before = moment, count
        return (self._done - before) / (now - begin) if now > begin else 0.0

    def left(self, now: float, total: int) -> float | None:
        """Return the seconds until `total` bytes are done at this speed; nothing while it is not known."""
        speed = self.speed(now)
        return max(0, total - self._done) / speed if speed > 0 else None

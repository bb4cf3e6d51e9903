"""How a build looks while it lasts: plain lines, a live table, or JSON."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

import typer

from builder.fleet.words import human_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.live import Live

    from builder.engine.state import BuildState, StageView

__all__ = ["Redrawn", "Say", "View", "describe", "human_bytes", "human_seconds", "make_view"]

HEARTBEAT = 15.0
LATE = 0.7
"""An unchanged build is over before rich is even loaded."""
STYLES = {
    "waiting": "dim",
    "downloading": "cyan",
    "running": "yellow",
    "cached": "green",
    "done": "green",
    "failed": "bold red",
    "cancelled": "magenta",
}


class View(Protocol):
    """Shows the state of a build."""

    def update(self, state: BuildState, now: float) -> None:
        """Show what has changed."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def make_view(progress: str) -> View:
    """Return the view of that name; without a name what suits standard output."""
    if progress == "json":
        return JsonView()
    if progress == "rich" or (not progress and sys.stdout.isatty()):
        return RichView()
    return PlainView()


def human_bytes(count: int) -> str:
    """Return a count of bytes as people write it.

    >>> human_bytes(1536000)
    '1.5 MB'
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def describe(view: StageView) -> str:
    """Return what a stage is doing, in a few words."""
    if view.state == "downloading":
        total = f" of {human_bytes(view.bytes_total)}" if view.bytes_total else ""
        return f"{human_bytes(view.bytes_done)}{total}"
    if view.state == "running":
        step = f"step {min(view.step + 1, view.steps)}/{view.steps}, " if view.steps else ""
        return f"{step}{human_seconds(view.seconds)}{': ' + view.line if view.line else ''}"
    return human_seconds(view.seconds) if view.state in ("done", "failed", "cancelled") else ""


class PlainView:
    """One line for every change of a stage's state, and a sign of life when nothing changes."""

    def __init__(self) -> None:
        self._start = time.time()
        self._states: dict[str, str] = {}
        self._spoke = self._start

    def update(self, state: BuildState, now: float) -> None:
        """Print what has changed."""
        views = state.views(now)
        for view in views:
            if view.state != self._states.get(view.name, "waiting"):
                self._say(now, f"{view.name}: {view.state} {describe(view)}".rstrip())
            self._states[view.name] = view.state
        if now - self._spoke >= HEARTBEAT:
            busy = [view for view in views if view.state in ("running", "downloading")]
            for view in busy:
                self._say(now, f"... {view.name}: {describe(view)[:160]}")
            if not busy:
                self._say(now, "... waiting for the engine")

    def close(self) -> None:
        """Nothing to leave behind."""

    def _say(self, now: float, text: str) -> None:
        self._spoke = now
        typer.echo(f"[{now - self._start:7.1f} s] {text}")
        sys.stdout.flush()


class JsonView:
    """One JSON object a line for every change of a stage's state."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def update(self, state: BuildState, now: float) -> None:
        """Print what has changed."""
        import json
        from dataclasses import asdict

        for view in state.views(now):
            if view.state != self._states.get(view.name):
                self._states[view.name] = view.state
                typer.echo(json.dumps({"event": "stage", "time": round(now, 3), **asdict(view)}))

    def close(self) -> None:
        """Nothing to leave behind."""


class Redrawn:
    """Something that is drawn again in place, at most ten times a second; nothing of a build that is over at once."""

    def __init__(self) -> None:
        self.start = time.time()
        self._live: Live | None = None
        self._drawn = 0.0

    def draw(self, make: Callable[[], Any], now: float) -> None:
        """Draw what `make` returns, if it is time."""
        if now - self.start < LATE or now - self._drawn < 0.1:
            return
        self._drawn = now
        table = make()
        if self._live is None:
            from rich.live import Live

            self._live = Live(table, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(table, refresh=True)

    def close(self) -> None:
        """Take it away: what a build ends with follows."""
        if self._live is not None:
            self._live.stop()


class RichView:
    """A table that is drawn again in place: one line a stage, and the total."""

    def __init__(self) -> None:
        self._place = Redrawn()

    def update(self, state: BuildState, now: float) -> None:
        """Draw the table again."""
        self._place.draw(lambda: self._table(state.views(now), now), now)

    def close(self) -> None:
        """Take the table away."""
        self._place.close()

    def _table(self, views: tuple[StageView, ...], now: float) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        for view in _fitting(views):
            style = STYLES[view.state]
            # Text, not markup: a log line may hold square brackets.
            table.add_row(Text(view.name), Text(view.state, style), Text(describe(view), style))
        ended = sum(1 for view in views if view.state in ("done", "cached"))
        table.add_row(
            Text(f"{ended}/{len(views)} stages", "bold"), Text(""), Text(human_seconds(now - self._place.start), "bold")
        )
        return table


def _fitting(views: tuple[StageView, ...]) -> list[StageView]:
    """Return as many stages as the terminal has lines; what is busy comes before what is not."""
    import shutil

    room = max(4, shutil.get_terminal_size().lines - 2)
    if len(views) <= room:
        return list(views)
    rank = {"failed": 0, "running": 0, "downloading": 0, "waiting": 1, "cancelled": 1, "done": 2, "cached": 3}
    kept = sorted(range(len(views)), key=lambda index: rank[views[index].state])[:room]
    return [views[index] for index in sorted(kept)]


class Say:
    """Prints lines of the base's making, and a sign of life when there are none."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._start = self._spoke = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line; an empty one only after a while of silence."""
        now = time.monotonic()
        if self._quiet or (not text and now - self._spoke < HEARTBEAT):
            return
        self._spoke = now
        typer.echo(f"[{now - self._start:7.1f} s] base: {text or 'still at it'}")
        sys.stdout.flush()

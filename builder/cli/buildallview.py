"""How many builds look while they last: a live table, plain lines, or JSON."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import typer

from builder.cli.live import HEARTBEAT, STYLES, Redrawn, describe, human_seconds
from builder.fleet.runs import EXPORT

if TYPE_CHECKING:
    from builder.engine.state import StageView
    from builder.engine.works import ImageView, Work

__all__ = ["JsonMany", "ManyView", "PlainMany", "RichMany", "make_many_view"]

WORDS = {"left": "not tried", "cancelled": "interrupted", "elsewhere": "waiting"}
IMAGE_STYLES = {
    "building": "yellow",
    "pushing": "cyan",
    "done": "green",
    "failed": "bold red",
    "left": "magenta",
    "cancelled": "magenta",
}
SHOWN = 160


class ManyView(Protocol):
    """Shows how all images are."""

    def update(self, views: tuple[ImageView, ...], now: float) -> None:
        """Show what has changed."""

    def close(self) -> None:
        """Leave the terminal as it was."""
        return


def make_many_view(progress: str, works: Sequence[Work]) -> ManyView:
    """Return the view of that name; without a name what suits standard output."""
    if progress == "json":
        return JsonMany()
    if progress == "rich" or (not progress and sys.stdout.isatty()):
        return RichMany()
    return PlainMany({work.name: work.digests for work in works})


class PlainMany(ManyView):
    """A line for every image that begins or ends, and one for every stage; of a shared stage only one."""

    def __init__(self, digests: Mapping[str, Mapping[str, str]]) -> None:
        self._digests = digests
        self._users: dict[str, int] = {}
        for stages in digests.values():
            for digest in stages.values():
                self._users[digest] = self._users.get(digest, 0) + 1
        self._start = self._spoke = time.time()
        self._states: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()

    def update(self, views: tuple[ImageView, ...], now: float) -> None:
        """Print what has changed."""
        for view in views:
            begun = self._states.get(view.name, "waiting")
            if view.state != begun and view.state not in ("done", "failed", "left", "cancelled"):
                self._image(view, now)
            for stage in view.stages:
                self._stage(view, stage, now)
            if view.state != self._states.get(view.name, "waiting"):
                self._image(view, now)
        if now - self._spoke >= HEARTBEAT:
            self._sign_of_life(views, now)

    def _image(self, view: ImageView, now: float) -> None:
        from builder.engine.text import printable

        self._states[view.name] = view.state
        took = f" after {human_seconds(view.ended - view.began)}" if view.ended and view.began else ""
        note = f": {printable(view.note)[:SHOWN]}" if view.note else ""
        self._say(now, f"{view.name} {WORDS.get(view.state, view.state)}{took}{note}")

    def _stage(self, view: ImageView, stage: StageView, now: float) -> None:
        if stage.state not in ("running", "downloading", "done", "failed"):
            return
        digest = self._digests.get(view.name, {}).get(stage.name, f"{view.name} {stage.name}")
        if stage.name == EXPORT and stage.seconds < 1.0:
            return
        word = "running" if stage.state == "downloading" else stage.state
        if (digest, word) in self._said:
            return
        self._said.add((digest, word))
        count = self._users.get(digest, 1)
        shared = f" (for {count} images)" if count > 1 and word == "running" else ""
        took = f" {human_seconds(stage.seconds)}" if word != "running" else ""
        self._say(now, f"  {stage.name}: {word}{took}{shared}{'' if count > 1 else f' ({view.name})'}")

    def _sign_of_life(self, views: tuple[ImageView, ...], now: float) -> None:
        from builder.engine.text import printable

        told: set[str] = set()
        for view in views:
            if view.state == "pushing":
                told.add(view.name)
                self._say(now, f"  ... {view.name} pushing: {printable(view.note)[:SHOWN]}")
            busy = view.busy if view.state == "building" else None
            if busy is None:
                continue
            key = self._digests.get(view.name, {}).get(busy.name, view.name)
            if key not in told:
                told.add(key)
                self._say(now, f"  ... {busy.name}: {printable(describe(busy))[:SHOWN]}")
        if not told:
            self._say(now, "  ... waiting for the engine")

    def _say(self, now: float, text: str) -> None:
        self._spoke = now
        typer.echo(f"[{now - self._start:7.1f} s] {text}")
        sys.stdout.flush()


class JsonMany(ManyView):
    """One JSON object a line for every change of an image's or a stage's state."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], str] = {}

    def update(self, views: tuple[ImageView, ...], now: float) -> None:
        """Print what has changed."""
        from dataclasses import asdict

        for view in views:
            for stage in view.stages:
                if self._new((view.name, stage.name), stage.state, "waiting"):
                    self._print({"event": "stage", "time": round(now, 3), "image": view.tag, **asdict(stage)})
            if self._new((view.name, ""), view.state, "waiting"):
                seconds = round((view.ended or now) - view.began, 3) if view.began else 0.0
                values = {"event": "image", "time": round(now, 3), "image": view.tag, "name": view.name}
                self._print({**values, "state": view.state, "seconds": seconds, "note": view.note})

    def _new(self, key: tuple[str, str], state: str, first: str) -> bool:
        if self._states.get(key, first) == state:
            return False
        self._states[key] = state
        return True

    @staticmethod
    def _print(values: Mapping[str, Any]) -> None:
        import json

        typer.echo(json.dumps(values))


class RichMany(ManyView):
    """A table that is drawn again in place: one line an image, and the sum."""

    def __init__(self) -> None:
        self._place = Redrawn()

    def update(self, views: tuple[ImageView, ...], now: float) -> None:
        """Draw the table again."""
        self._place.draw(lambda: self.table(views, now), now)

    def close(self) -> None:
        """Take the table away: the summary follows."""
        self._place.close()

    def table(self, views: tuple[ImageView, ...], now: float) -> Any:
        """Return the table as rich draws it."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("image", "state"):
            table.add_column(name, no_wrap=True)
        for name in ("time", "run", "cached"):
            table.add_column(name, no_wrap=True, justify="right")
        table.add_column("stage", no_wrap=True, ratio=1, overflow="ellipsis")
        shown = _fitting(views)
        for view in shown:
            busy = view.busy if view.state == "building" else None
            # Text, not markup: a log line may hold square brackets.
            what = Text(f"{busy.name}  {describe(busy)}", STYLES[busy.state]) if busy else Text(view.note)
            took = human_seconds((view.ended or now) - view.began) if view.began else ""
            table.add_row(
                Text(view.name),
                Text(WORDS.get(view.state, view.state), IMAGE_STYLES.get(view.state, "dim")),
                Text(took),
                Text(str(view.count("done") or "")),
                Text(str(view.count("cached") or "")),
                what,
            )
        table.add_row(*_sum(views, len(views) - len(shown), now - self._place.start))
        return table


def _sum(views: Sequence[ImageView], hidden: int, seconds: float) -> tuple[Any, ...]:
    from rich.text import Text

    done = sum(1 for view in views if view.state == "done")
    failed = sum(1 for view in views if view.state in ("failed", "left"))
    state = Text(f"{failed} failed" if failed else "", "bold red")
    note = Text(f"{hidden} more images" if hidden else "", "dim")
    return Text(f"{done}/{len(views)} images", "bold"), state, Text(human_seconds(seconds), "bold"), "", "", note


def _fitting(views: tuple[ImageView, ...]) -> list[ImageView]:
    """Return as many images as the terminal has lines; what is busy or failed comes before what is not."""
    room = max(4, shutil.get_terminal_size().lines - 4)
    if len(views) <= room:
        return list(views)
    rank = {
        "building": 0,
        "pushing": 0,
        "failed": 1,
        "elsewhere": 2,
        "left": 3,
        "waiting": 3,
        "cancelled": 4,
        "done": 5,
    }
    kept = sorted(range(len(views)), key=lambda index: rank[views[index].state])[:room]
    return [views[index] for index in sorted(kept)]

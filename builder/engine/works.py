"""What is known of each image while many are built: what was asked for, how it is, what its stages do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from builder.engine.build import StageFailedError
from builder.engine.command import Choices, default_tag
from builder.engine.delivery import Delivery
from builder.engine.host import Engine, connect
from builder.engine.process import Runner, SystemRunner
from builder.engine.state import BuildState, StageView
from builder.errors import DrivebuildError
from builder.fleet.runs import ENDED, EXPORT, Failed, ImageState, StageRun
from builder.plan.stage import Plan

__all__ = ["TICK", "Board", "Doors", "ImageView", "Show", "SystemDoors", "Watch", "Work", "failed_by"]

TICK = 0.1
"""Seconds between two looks at a build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One image to be built."""

    name: str
    """For people."""
    plan: Plan
    dockerfile: str = ""
    choices: Choices = field(default_factory=Choices)
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of the stages that it needs."""
    delivery: Delivery = field(default_factory=Delivery)
    cache_to: tuple[str, ...] = ()
    """Caches that are written, in BuildKit's words."""
    broken: Failed | None = None
    """Why it cannot even be begun, such as a source that nobody has."""

    @property
    def tag(self) -> str:
        """The image's name and tag."""
        return self.choices.tag or default_tag(self.plan, self.choices.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """One image as a person wants to see it."""

    name: str
    tag: str
    state: ImageState = "waiting"
    began: float = 0.0
    ended: float = 0.0
    stages: tuple[StageView, ...] = ()
    note: str = ""

    @property
    def busy(self) -> StageView | None:
        """The stage that is at work; of several the one that has been for longest."""
        busy = [view for view in self.stages if view.state in ("running", "downloading")]
        return max(busy, key=lambda view: view.seconds, default=None)

    def count(self, state: str) -> int:
        """Return how many of its stages are in a state."""
        return sum(1 for view in self.stages if view.state == state and view.name != EXPORT)


Show = Callable[[tuple[ImageView, ...], float], None]
"""Is told how all images are, several times a second."""


class Doors(Protocol):
    """The ways to an engine, one for each thread."""

    def runner(self, stop: threading.Event) -> Runner:
        """Return what starts commands, until the event is set."""
        ...

    def engine(self) -> Engine:
        """Return a connection to the engine.

        Raises:
            BuildError: when it does not answer.
        """
        ...


class SystemDoors:
    """Real ones."""

    def runner(self, stop: threading.Event) -> Runner:
        """See `Doors.runner`."""
        return SystemRunner(stop)

    def engine(self) -> Engine:
        """See `Doors.engine`."""
        return connect()


def failed_by(error: DrivebuildError) -> Failed:
    """Return an error as what became of an image."""
    first = error.message.strip().split("\n", 1)[0]
    if isinstance(error, StageFailedError):
        return Failed(
            stage=error.stage, first=error.first, message=error.message, hint=error.hint, log=str(error.log), code=6
        )
    return Failed(first=first, message=error.message, hint=error.hint, code=error.exit_code)


class Board:
    """How all images are, for threads to write on and one to read."""

    def __init__(self, works: Sequence[Work]) -> None:
        self._lock = threading.Lock()
        self._views = {work.name: ImageView(name=work.name, tag=work.tag) for work in works}

    def views(self) -> tuple[ImageView, ...]:
        """Return how all images are."""
        with self._lock:
            return tuple(self._views.values())

    def begin(self, name: str) -> None:
        """Say that an image's build begins."""
        with self._lock:
            self._views[name] = replace(self._views[name], state="building", began=time.time(), note="")

    def state(self, name: str, state: ImageState, note: str = "") -> None:
        """Say how an image is."""
        with self._lock:
            ended = time.time() if state in ENDED else 0.0
            self._views[name] = replace(self._views[name], state=state, note=note, ended=ended)

    def note(self, name: str, note: str) -> None:
        """Say what an image's build is waiting for."""
        with self._lock:
            self._views[name] = replace(self._views[name], note=note)

    def stages(self, name: str, stages: tuple[StageView, ...]) -> None:
        """Say how an image's stages are."""
        with self._lock:
            self._views[name] = replace(self._views[name], stages=stages)


class Watch:
    """Takes the progress of one build to the board, and keeps its last state."""

    def __init__(self, work: Work, board: Board) -> None:
        self._work, self._board = work, board
        self._state: BuildState | None = None
        self._told = 0.0

    def __call__(self, state: BuildState, now: float) -> None:
        self._state = state
        if now - self._told >= TICK:
            self._told = now
            self._board.stages(self._work.name, state.views(now))

    def unread(self) -> Iterator[str]:
        """Yield a note for each cache that could not be read; one that is not there yet is none."""
        for name, error in self._state.unread if self._state else ():
            if not error.rstrip().endswith("not found"):
                yield f"cache {name} could not be read: {error}"

    def stages(self) -> tuple[StageRun, ...]:
        """Return what the build's stages did, when it has ended."""
        if self._state is None:
            return ()
        now = time.time()
        views, spans = self._state.views(now), self._state.spans(now)
        self._board.stages(self._work.name, views)
        return tuple(
            StageRun(
                name=view.name,
                state=view.state,
                digest=self._work.digests.get(view.name, ""),
                spans=spans.get(view.name, ()),
            )
            for view in views
        )

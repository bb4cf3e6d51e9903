"""What a build is doing, stage by stage, from BuildKit's events. Pure: it has no clock, times are given to it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from builder.engine.progress import Event, Log, Status, Text, Vertex
from builder.fleet.runs import EXPORT, merged

__all__ = ["EXPORT", "BuildState", "Failure", "StageView", "State"]

State = Literal["waiting", "downloading", "running", "cached", "done", "failed", "cancelled"]

_STEP = re.compile(
    r"\[(?:[a-z0-9]+/[a-z0-9/]+ )?(?P<stage>[^\s\]]+) +(?P<step>\d+)/(?P<steps>\d+)\] (?P<what>.*)", re.DOTALL
)
_CONTEXT = re.compile(r"\[context (?P<stage>[^\s\]]+)\] (?P<what>.*)", re.DOTALL)
_IMPORT = "importing cache manifest from "
_CANCELLED = re.compile(r"context cancell?ed")
KEPT_LINES = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """The step that stopped the build."""

    stage: str
    """Empty when it was none of a stage, such as reading the base image's metadata."""
    step: str
    error: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage as a person wants to see it."""

    name: str
    state: State
    seconds: float = 0.0
    step: int = 0
    steps: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    line: str = ""
    partial: bool = False
    """Whether its seconds are not the whole stage's: some of the steps were cached, or another build had begun them."""


@dataclass(slots=True)
class _Step:
    """One vertex, over all the events about it."""

    name: str
    stage: str
    what: str
    number: int = 0
    of: int = 0
    spans: dict[float, float | None] = field(default_factory=dict)
    cached: bool = False
    old: bool = False
    """Whether it was complete before this build began."""
    joined: bool = False
    """Whether another build had begun it, whose work this one waited for."""
    error: str = ""
    parts: dict[str, Status] = field(default_factory=dict)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    partial: str = ""

    @property
    def started(self) -> bool:
        return bool(self.spans)

    @property
    def active(self) -> bool:
        return any(end is None for end in self.spans.values())

    @property
    def ran(self) -> bool:
        """Whether it did work of its own; a base image or a local folder that is already there is none."""
        # containerd's image store says of a base that is there that it looked for it; only bytes are work.
        brought = any(part.total or part.current for part in self.parts.values())
        present = not self.number or (self.what.startswith("FROM ") and not brought)
        return self.started and not self.cached and not self.old and (not present or self.stage == EXPORT)

    @property
    def spared(self) -> bool:
        """Whether it is work that was not done again; a cached COPY would not have taken long."""
        return (self.cached or self.old) and self.what.startswith(("RUN ", "ADD "))

    def seconds(self, now: float) -> float:
        if self.cached or self.old:
            return 0.0
        return sum(max(0.0, (now if end is None else end) - start) for start, end in self.spans.items())

    def tail(self) -> tuple[str, ...]:
        return (*self.lines, *((self.partial,) if self.partial.strip() else ()))


class BuildState:
    """The state of one build. Feed it events; ask it for views."""

    def __init__(self, stages: Iterable[str]) -> None:
        self._origin: float | None = None
        self._order: dict[str, None] = dict.fromkeys(stages)
        self._own = frozenset((*self._order, EXPORT))
        self._steps: dict[str, _Step] = {}
        self._settled: frozenset[str] = frozenset()
        """Steps that an earlier try of this build has finished: the engine calls them cached in the next one."""
        self._begun: frozenset[str] = frozenset()
        """Steps that an earlier try had begun when it failed: where they are cached now, it was this build's work."""
        self._outcome: Literal["", "done", "failed", "cancelled"] = ""
        self.texts: list[str] = []

    def apply(self, event: Event) -> None:
        """Take one event in."""
        if isinstance(event, Vertex):
            self._vertex(event)
        elif isinstance(event, Text):
            self.texts.append(event.line)
        elif event.vertex in self._steps:
            step = self._steps[event.vertex]
            if isinstance(event, Status):
                step.parts[event.id] = event
            else:
                _take_log(step, event)

    def finish(self, outcome: Literal["done", "failed", "cancelled"]) -> None:
        """Say how the build ended: what has not ended by then never will."""
        self._outcome = outcome

    def again(self, *, without: str = "") -> None:
        """Begin another try of the same build: what has finished stays as it was, what failed is forgotten.

        Forgotten is, too, what is known of the stage `without`: it will run once more.
        """
        known = {digest: step for digest, step in self._steps.items() if not without or step.stage != without}
        self._begun |= {digest for digest, step in known.items() if step.ran}
        self._steps = {
            digest: step for digest, step in known.items() if step.started and not step.active and not step.error
        }
        self._settled = frozenset(self._steps)
        self.texts.clear()

    def stage_of(self, digest: str) -> str:
        """Return the stage of a step, or its full name when it belongs to none."""
        step = self._steps.get(digest)
        return (step.stage or step.name) if step else ""

    def views(self, now: float) -> tuple[StageView, ...]:
        """Return all stages, in the plan's order; what BuildKit named beside them comes last, if it did anything.

        Steps that builds share, a base to begin with, have the names that the first of these builds gave them.
        """
        by_stage: dict[str, list[_Step]] = {name: [] for name in self._order}
        for step in self._steps.values():
            if step.stage in by_stage:
                by_stage[step.stage].append(step)
        return tuple(
            self._view(name, steps, now)
            for name, steps in by_stage.items()
            if name in self._own or any(step.ran or step.active or step.error for step in steps)
        )

    def spans(self, now: float) -> Mapping[str, tuple[tuple[float, float], ...]]:
        """Return when each stage that ran was at work: intervals in order that do not touch.

        The times are the engine's, in seconds since 1970. A step that another build began counts from this build's own
        beginning.
        """
        found: dict[str, list[tuple[float, float]]] = {}
        for step in self._steps.values():
            if step.stage and step.ran:
                pieces = found.setdefault(step.stage, [])
                pieces.extend((start, now if end is None else end) for start, end in step.spans.items())
        return {name: merged(pieces) for name, pieces in found.items()}

    @property
    def failure(self) -> Failure | None:
        """Return the first step that failed by itself, not because another did."""
        for step in self._steps.values():
            if step.error and not _CANCELLED.search(step.error) and not step.name.startswith(_IMPORT):
                return Failure(step.stage, step.what or step.name, step.error, step.tail())
        return None

    @property
    def unread(self) -> tuple[tuple[str, str], ...]:
        """Return the caches that could not be read, each with the reason: BuildKit goes on without them."""
        steps = (step for step in self._steps.values() if step.error and step.name.startswith(_IMPORT))
        return tuple((step.name.removeprefix(_IMPORT), step.error) for step in steps)

    def _vertex(self, event: Vertex) -> None:
        step = self._steps.get(event.digest)
        if step and event.digest in self._settled and not event.error:
            if event.cached or event.started is None or not step.cached:
                return
            # What the cache had in an earlier try was of no use after all, and runs.
            step.cached = False
            self._settled -= {event.digest}
        if step is None:
            step = self._steps[event.digest] = _named(event.name)
            if step.stage:
                self._order.setdefault(step.stage)
        if event.started is not None:
            if step.error and not event.error and all(event.started > start for start in step.spans):
                # Its cached result was gone when it was wanted, and BuildKit runs it after all.
                step.error, step.cached = "", False
            self._span(step, event.started, event.completed)
        step.cached = step.cached or (event.cached and event.digest not in self._begun)
        step.error = event.error or step.error

    def _span(self, step: _Step, start: float, end: float | None) -> None:
        """Note when a step ran, as far as it was within this build.

        The engine lets builds share steps while they last, and then reports the other build's times: what was
        complete before this build began is cached for this one, whatever the engine calls it.
        """
        if self._origin is None:
            self._origin = start
        step.old = end is not None and end < self._origin
        step.joined = step.joined or start < self._origin
        begin = max(start, self._origin)
        step.spans[begin] = None if end is None else max(begin, end)

    def _view(self, name: str, steps: list[_Step], now: float) -> StageView:
        state = self._state(steps)
        active = next((step for step in steps if step.active), None)
        parts = [part for step in steps if step.active for part in step.parts.values() if part.total or part.current]
        shown = active or (steps[-1] if steps else None)
        return StageView(
            name=name,
            state=state,
            seconds=round(sum(step.seconds(now) for step in steps if step.ran), 3),
            step=sum(1 for step in steps if step.started and not step.active),
            steps=max((step.of for step in steps), default=0),
            bytes_done=sum(part.total if part.completed and part.total else part.current for part in parts),
            bytes_total=sum(part.total for part in parts),
            line=_last_line(shown),
            partial=any(step.ran for step in steps) and any(step.spared or step.joined for step in steps),
        )

    def _state(self, steps: list[_Step]) -> State:
        errors = [step.error for step in steps if step.error]
        if errors:
            own = any(not _CANCELLED.search(error) for error in errors)
            return "failed" if own else "cancelled"
        if any(step.active for step in steps):
            if self._outcome in ("failed", "cancelled"):
                return "cancelled"
            busy = [part for step in steps if step.active for part in step.parts.values()]
            return "downloading" if any(part.current and not part.completed for part in busy) else "running"
        if self._outcome == "done" or (steps and all(step.started for step in steps)):
            return "done" if any(step.ran for step in steps) else "cached"
        # Between two of its steps a stage waits for a stage it copies from; that is still its own turn.
        return "running" if any(step.ran for step in steps) else "waiting"


def _named(name: str) -> _Step:
    match = _STEP.match(name)
    if match:
        return _Step(name, match["stage"], match["what"], int(match["step"]), int(match["steps"]))
    match = _CONTEXT.match(name)
    if match:
        return _Step(name, match["stage"], match["what"])
    if name.startswith("exporting to "):
        return _Step(name, EXPORT, name)
    return _Step(name, "", name)


def _take_log(step: _Step, event: Log) -> None:
    pieces = re.split(r"\r\n|\n|\r", step.partial + event.data)
    step.partial = pieces.pop()
    step.lines.extend(piece.rstrip() for piece in pieces if piece.strip())


def _last_line(step: _Step | None) -> str:
    if step is None:
        return ""
    tail = step.tail()
    if tail:
        return tail[-1].strip()
    return step.what.split("\n", 1)[0] if step.active else ""

"""Where the bars of the timeline lie: a row for each image, with as many lanes as stages were at work at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from builder.fleet.report import Report
from builder.fleet.runs import EXPORT, ImageRun, StageRun

__all__ = ["Bar", "Row", "rows_of"]

Kind = Literal["ran", "shared", "failed", "cut off", "written"]


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time in which a stage was at work."""

    stage: str
    kind: Kind
    lane: int
    begin: float
    """Seconds since the beginning of the call."""
    end: float
    users: int
    """How many images need the stage."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One image."""

    image: ImageRun
    bars: tuple[Bar, ...]
    lanes: int


def rows_of(report: Report) -> Iterator[Row]:
    """Yield the rows of images that were begun, in the order they were begun in."""
    uses = {use.digest: use for use in report.stages}
    for image in sorted(report.outcome.images, key=lambda each: each.began):
        if not image.began:
            continue
        bars: list[Bar] = []
        free: list[float] = []
        at_work = [stage for stage in image.stages if stage.spans]
        for stage in sorted(at_work, key=lambda each: each.spans[0][0]):
            begin, end = stage.spans[0][0], stage.spans[-1][1]
            lane = next((number for number, until in enumerate(free) if until <= begin), len(free))
            free[lane : lane + 1] = [end]
            use = uses.get(stage.digest)
            first = use is None or use.images[0] == image.name
            for start, stop in stage.spans:
                bars.append(
                    Bar(
                        stage=stage.name,
                        kind=_kind(stage, first=first),
                        lane=lane,
                        begin=start - report.outcome.began,
                        end=stop - report.outcome.began,
                        users=len(use.images) if use else 1,
                    )
                )
        yield Row(image=image, bars=tuple(bars), lanes=max(1, len(free)))


def _kind(stage: StageRun, *, first: bool) -> Kind:
    if stage.state == "failed":
        return "failed"
    if stage.state == "cancelled":
        return "cut off"
    if stage.name == EXPORT:
        return "written"
    return "ran" if first else "shared"

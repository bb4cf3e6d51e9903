"""The words of a `build-all`: what became of each image, and when each of its stages was at work. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

__all__ = ["ENDED", "EXPORT", "Failed", "ImageRun", "ImageState", "Interval", "Outcome", "StageRun", "merged", "total"]

ImageState = Literal["waiting", "elsewhere", "building", "pushing", "done", "failed", "left", "cancelled"]
"""`elsewhere`: another drivebuild is at this image. `left`: not begun, because of something that had failed before."""
ENDED: frozenset[ImageState] = frozenset(("done", "failed", "left", "cancelled"))

Interval = tuple[float, float]
"""Begin and end, in seconds since 1970."""

EXPORT = "export"
"""Name under which writing the image is shown; no Dockerfile stage has it."""


class StageRun(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of one image's build."""

    name: str
    state: str
    """As builder/engine/state.py has it."""
    digest: str = ""
    """`stage_digests` of builder/render/keys.py; '' for writing the image."""
    spans: tuple[Interval, ...] = ()
    """When it was at work; none for one that was cached, or never had its turn."""

    @property
    def seconds(self) -> float:
        """For how long it was at work."""
        return total(self.spans)


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """Why an image is not there."""

    stage: str = ""
    """'' where it was none of a stage."""
    first: str
    """The first line of what was said."""
    message: str = ""
    """All of it."""
    hint: str = ""
    log: str = ""
    code: int = 6
    """Exit code that the error alone would have ended the command with."""


class ImageRun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one image."""

    name: str
    """For people: `streampetr debian-12-cpu-lto`."""
    tag: str
    platform: str
    state: ImageState
    began: float = 0.0
    """Seconds since 1970; 0 for one that was never begun."""
    ended: float = 0.0
    stages: tuple[StageRun, ...] = ()
    failed: Failed | None = None
    size_bytes: int = 0
    image_id: str = ""
    pushed: str = ""
    """Name and digest in the registry."""
    notes: tuple[str, ...] = ()
    """What a person should know of it: a cache that could not be read, a tag that stayed another image's."""

    @property
    def seconds(self) -> float:
        """From its beginning to its end."""
        return max(0.0, self.ended - self.began)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the command."""

    began: float
    ended: float
    slots: int
    """Images that could be built at a time."""
    images: tuple[ImageRun, ...]
    """In the order they were chosen in."""
    interrupted: bool = False
    stopped: str = ""
    """Why nothing more was begun: the engine's death, a full disk. Empty where nothing of the kind happened."""
    hint: str = ""
    architecture: str = ""
    engine: str = ""
    left_out: Mapping[str, str] = {}
    """Combinations that were asked for and do not exist, each with the reason."""


def merged(pieces: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return the same time as intervals in order that do not touch.

    >>> merged([(5.0, 6.0), (1.0, 3.0), (2.0, 4.0)])
    ((1.0, 4.0), (5.0, 6.0))
    """
    found: list[Interval] = []
    for start, end in sorted(pieces):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def total(pieces: Iterable[Interval]) -> float:
    """Return the seconds of intervals that do not overlap."""
    return sum(end - start for start, end in pieces)

"""Rectangles whose areas are in the ratio of bytes: components, and in each its largest parts. Pure.

The layout is squarify's (Bruls, Huizing, van Wijk: Squarified Treemaps): rectangles as close to squares as can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from builder.errors import UsageError
from builder.footprint.measure import Footprint, Part

__all__ = ["Box", "Node", "boxes", "nodes_of"]

WIDTH, HEIGHT = 1200.0, 640.0
HEAD = 22.0
"""Room for a component's name over its parts."""
GAP = 2.0
LEAST = 0.0004
"""Parts below this share of the image are drawn as one, named by their number."""
LETTER, LINE = 7.2, 15.0
"""Width of a letter and height of a line, of text of 12 px."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """Something with an area, and what it is made of."""

    name: str
    bytes: int
    inner: tuple[Node, ...] = ()


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """One rectangle in a drawing of WIDTH times HEIGHT."""

    x: float
    y: float
    width: float
    height: float
    node: Node
    top: int
    """Number of the component that it is, or is in."""
    outer: bool
    label: str
    """What of the name there is room for; may be empty."""


def nodes_of(footprint: Footprint) -> tuple[Node, ...]:
    """Return the components with their parts, the largest first."""
    least = sum(part.bytes for part in footprint.parts) * LEAST
    return tuple(
        Node(name=part.name, bytes=part.bytes, inner=_inner(footprint.by_name(part.component), least))
        for part in footprint.by_component()
        if part.bytes
    )


def _inner(parts: Sequence[Part], least: float) -> tuple[Node, ...]:
    large = [part for part in parts if part.bytes >= least and part.bytes]
    small = [part for part in parts if 0 < part.bytes < least]
    rest = [Node(name=f"{len(small)} smaller", bytes=sum(part.bytes for part in small))] if small else []
    return (*(Node(name=part.name, bytes=part.bytes) for part in large), *rest)


def boxes(nodes: Sequence[Node]) -> tuple[Box, ...]:
    """Return the rectangles of all nodes, each outer one before those in it.

    Raises:
        UsageError: when squarify is not installed.
    """
    found: list[Box] = []
    for number, (node, area) in enumerate(_areas(nodes, (0.0, 0.0, WIDTH, HEIGHT))):
        x, y, width, height = area
        head = HEAD if height > 2 * HEAD else 0.0
        # Without room for a line of its own, its name would lie on those of its parts.
        found.append(_box(node, area, top=number, outer=True, named=bool(head) or not node.inner))
        room = (x + GAP, y + head, width - 2 * GAP, height - head - GAP)
        if min(room[2:]) > 1:
            found += [
                _box(inner, place, top=number, outer=False, named=True) for inner, place in _areas(node.inner, room)
            ]
    return tuple(found)


def _areas(
    nodes: Sequence[Node], room: tuple[float, float, float, float]
) -> list[tuple[Node, tuple[float, float, float, float]]]:
    """Return each node with its place in `room` (x, y, width, height); nodes are sorted, and none is empty."""
    try:
        import squarify
    except ImportError as error:
        hint = "install it: pip install 'drivebuild[report]'"
        raise UsageError("--html needs squarify, which lays out the treemap", hint=hint) from error
    x, y, width, height = room
    if not nodes:
        return []
    sizes = squarify.normalize_sizes([node.bytes for node in nodes], width, height)
    placed: list[dict[str, Any]] = squarify.squarify(sizes, x, y, width, height)
    return [(node, (each["x"], each["y"], each["dx"], each["dy"])) for node, each in zip(nodes, placed, strict=True)]


def _box(node: Node, area: tuple[float, float, float, float], *, top: int, outer: bool, named: bool) -> Box:
    x, y, width, height = area
    letters = int((width - 8) / LETTER)
    name = node.name
    if not named or height < LINE + GAP or letters < 4:
        name = ""
    elif len(name) > letters:
        name = f"{name[: letters - 1]}…"
    return Box(x=x, y=y, width=width, height=height, node=node, top=top, outer=outer, label=name)

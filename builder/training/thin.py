"""Long series made short enough to draw, without losing what stands out. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["MOST", "thin"]

MOST = 2000
"""Points of one curve on a page: about as many as a wide screen has columns."""


def thin(x: Sequence[float], y: Sequence[float], most: int = MOST) -> tuple[list[float], list[float]]:
    """Return at most `most` points: of each stretch the least and the greatest, at their own places.

    Points whose value is no finite number are left out.
    """
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)]
    if len(points) > most:
        width = math.ceil(len(points) / (most // 2))
        kept: list[tuple[float, float]] = []
        for start in range(0, len(points), width):
            stretch = points[start : start + width]
            low = min(range(len(stretch)), key=lambda index: stretch[index][1])
            high = max(range(len(stretch)), key=lambda index: stretch[index][1])
            kept += [stretch[index] for index in sorted({low, high})]
        points = kept
    return [a for a, _ in points], [float(f"{b:.6g}") for _, b in points]

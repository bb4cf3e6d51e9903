"""Figures as people write them. Pure."""

from __future__ import annotations

__all__ = ["human_seconds"]


def human_seconds(seconds: float) -> str:
    """Return seconds as people write them.

    >>> human_seconds(403.2)
    '6 min 43 s'
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"

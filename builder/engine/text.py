"""Text from elsewhere on its way to a terminal."""

from __future__ import annotations

import re

__all__ = ["printable"]

# What moves a cursor, changes a terminal's settings, or turns the direction of what follows.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return text in which whatever could steer a terminal is spelled out; tabs and line ends stay.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)

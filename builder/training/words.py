"""Texts of a log made harmless, and numbers as logs write them. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone

__all__ = ["clean", "number", "seconds_of", "strip_escapes"]

ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n\r]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
"""ECMA-48 sequences: CSI, OSC with its end, and those of two bytes."""
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)\D{1,4}(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?", re.ASCII)
SHOWN = 400


def strip_escapes(data: bytes) -> bytes:
    """Return the data without terminal sequences."""
    return ESCAPES.sub(b"", data)


def clean(text: str, limit: int = SHOWN) -> str:
    """Return one line that can be shown: no control characters, none that turn the direction, at most `limit` long."""
    shown = CONTROLS.sub("\ufffd", text.strip())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def number(text: str) -> float | None:
    """Return a number as programs print it, in whatever locale: '1.849', '1,849', 'nan', '1.195 (0.012)'.

    None for what is none, such as '1 day'.
    """
    try:
        return float(text)
    except ValueError:
        text = text.partition(" (")[0].strip().rstrip(",")
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


def seconds_of(stamp: str) -> float | None:
    """Return a time stamp as seconds; zones and summer time are not known, so only differences mean something."""
    found = STAMP.search(stamp)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None
    return moment.timestamp() + float(f"0.{found.group(7) or 0}")

"""One line of `doctor`, and of what a run checks before it starts."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Finding", "State"]

State = Literal["ok", "warn", "FAIL"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, what was found, and what to do about it."""

    state: State
    about: str
    found: str
    advice: str = ""

"""Faults of a registry, and of the engine that talks to it, that pass; and how long is waited for them."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["LOST_LAYER", "PATIENCE", "Patience", "RefusedError", "asked_wait", "passes", "patiently"]

_T = TypeVar("_T")
Say = Callable[[str], None]

# What stays: looked for first, because a refusal is often wrapped in words about a connection.
_STAYS = (
    r"unauthorized|authentication required|no basic auth|insufficient_scope|\b40[1345] |denied|Forbidden"
    r"|x509: |certificate|server gave HTTP response to HTTPS client|invalid reference|name unknown|manifest unknown"
    r"|no such host|no space left|quota exceeded|not supported|unsupported"
)
LOST_LAYER = r"parent snapshot \S+ does not exist"
"""What an engine says whose image store took a layer away that it had just found: moby/buildkit#6521."""
_PASSES = (
    r"429 |[Tt]oo ?[Mm]any ?[Rr]equests|\b5\d\d |5\d\d (?:Internal|Bad|Service|Gateway)|: 5\d\d$"
    r"|connection reset|connection refused|broken pipe|unexpected EOF|\bEOF\b|i/o timeout|TLS handshake timeout"
    r"|timeout awaiting response|server closed|use of closed network connection|network is unreachable"
    r"|blob upload unknown|blob upload invalid|server misbehaving|Temporary failure in name resolution"
    # The engine's own, where it unpacks what it pushes or pulls.
    rf"|{LOST_LAYER}"
)
_ASKED = re.compile(r"retry[- _]?after\W{1,4}(?P<seconds>\d{1,6})", re.IGNORECASE)
_BUSY = re.compile(r"429 |[Tt]oo ?[Mm]any ?[Rr]equests")


class RefusedError(Exception):
    """A command that failed, with what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often something is tried, and how long is waited between: twice as long each time, give or take a quarter.

    Many machines of a farm meet the same fault at once; the quarter keeps them from coming back at once, too.
    """

    tries: int = 6
    first: float = 2.0
    most: float = 60.0
    """Seconds; also what a registry may ask for at most, before it is given up."""
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    def wait(self, failed: int) -> float:
        """Return the seconds to wait after the `failed`-th try."""
        return float(min(self.most, self.first * 2 ** (failed - 1)) * (0.75 + self.chance() / 2))


PATIENCE = Patience()


def passes(said: str) -> bool:
    """Return whether a message is of a fault that may be gone in a moment. What is not known stays."""
    return not re.search(_STAYS, said) and re.search(_PASSES, said, re.MULTILINE) is not None


def asked_wait(said: str) -> int | None:
    """Return the seconds that a registry's own message asks to wait for, if it does."""
    match = _ASKED.search(said)
    return int(match["seconds"]) if match else None


def patiently(
    what: Callable[[], _T],
    *,
    about: str,
    patience: Patience = PATIENCE,
    say: Say = lambda _line: None,
    ask: Callable[[], int | None] = lambda: None,
) -> _T:
    """Do something, again while its fault is one that passes.

    `ask` returns what the registry wants to be waited for; it is asked only by one that says it has too much to do.

    Raises:
        RefusedError: the last one, or the first that does not pass.
    """
    for failed in range(1, patience.tries + 1):
        try:
            return what()
        except RefusedError as error:
            said = str(error)
            if failed == patience.tries or not passes(said):
                raise
            wait = patience.wait(failed)
            asked = _asked(said, ask)
            if asked is not None and asked > patience.most:
                raise RefusedError(
                    f"{said}\nRetry-After: {asked} s, and {patience.most:.0f} s is what is waited"
                ) from error
            wait = max(wait, float(asked or 0))
            last = said.strip().splitlines()[-1] if said.strip() else "no message"
            say(f"{about}: {last}; try {failed + 1} of {patience.tries} in {wait:.0f} s")
            patience.sleep(wait)
    raise AssertionError("a try returns or raises")


def _asked(said: str, ask: Callable[[], int | None]) -> int | None:
    if not _BUSY.search(said):
        return None
    found = asked_wait(said)
    return ask() if found is None else found

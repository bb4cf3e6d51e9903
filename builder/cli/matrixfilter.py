"""`--filter` of a matrix: which images are meant, by patterns over what names them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from builder.render.matrix import Entry

__all__ = ["filter_tests"]

CHANGES = ("added", "changed", "comments")
KEYS = ("model", "platform", "variant", "architecture", "change")


def filter_tests(filters: list[str], found: Sequence[Entry], *, since: bool) -> list[Callable[[Entry], bool]]:
    """Return a test for each key: one of its patterns fits, and none of those after `!=`.

    Raises:
        UsageError: for a key that does not exist, and for a pattern that fits no image: a misspelt name builds nothing.
    """
    wanted: dict[str, tuple[list[str], list[str]]] = {}
    for text in filters:
        key, pattern, negative = _pattern(text, since=since)
        if key != "change" and not negative:
            _check_fits(text, key, pattern, found)
        wanted.setdefault(key, ([], []))[negative].append(pattern)
    return [partial(_passes, key=key, fits=fits, bars=bars) for key, (fits, bars) in wanted.items()]


def _pattern(text: str, *, since: bool) -> tuple[str, str, bool]:
    from builder.recipe.suggest import one_of

    key, equals, pattern = text.partition("=")
    negative = key.endswith("!")
    key = key.removesuffix("!")
    if not equals or not pattern:
        raise UsageError(f"--filter {text!r}: expected KEY=PATTERN or KEY!=PATTERN")
    if key not in KEYS:
        raise UsageError(f"--filter: there is no key {key!r}", hint=one_of(key, KEYS))
    if key == "change" and not since:
        raise UsageError("--filter change=… needs --since REV")
    if key == "change" and pattern not in CHANGES:
        raise UsageError(f"--filter: there is no change {pattern!r}", hint=one_of(pattern, CHANGES))
    return key, pattern, negative


def _check_fits(text: str, key: str, pattern: str, found: Sequence[Entry]) -> None:
    from builder.recipe.suggest import one_of

    if not any(_fits(entry, key, pattern) for entry in found):
        names = dict.fromkeys(_values(entry, key)[0] for entry in found)
        raise UsageError(f"--filter {text!r} fits no image", hint=one_of(pattern, names))


def _passes(entry: Entry, *, key: str, fits: list[str], bars: list[str]) -> bool:
    wanted = not fits or any(_fits(entry, key, pattern) for pattern in fits)
    return wanted and not any(_fits(entry, key, pattern) for pattern in bars)


def _fits(entry: Entry, key: str, pattern: str) -> bool:
    return any(fnmatchcase(value, pattern) for value in _values(entry, key))


def _values(entry: Entry, key: str) -> tuple[str, ...]:
    from builder.plan.stage import TARGETS

    plan = entry.plan
    return {
        "model": (plan.model.name,),
        "platform": (plan.platform.name,),
        "variant": (plan.variant,),
        "architecture": (entry.architecture, TARGETS[entry.architecture]),
        "change": (entry.change,),
    }[key]

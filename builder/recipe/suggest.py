"""Did you mean …? Pure."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "one_of"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the nearest known word, or the empty string when none is near."""
    # difflib costs a few milliseconds to import and is needed only when something is wrong.
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def one_of(word: str, known: Iterable[str]) -> str:
    """Return the nearest known word as a question, or else all known words."""
    words = sorted(known)
    return did_you_mean(word, words) or f"known: {', '.join(words) or 'none'}"

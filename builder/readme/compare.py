"""What moved between two READMEs, and whether a recipe has it. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from builder.readme.facts import Fact, Kind, Said
from builder.readme.recipe import Has

__all__ = ["Moved", "against_recipe", "moved"]

_ALIKE = 0.6
_MANY = 10_000
"""Pairs of commands that are held against each other; where there are more, nothing resembles anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One thing that one README says and the other does not."""

    kind: Kind
    key: str
    was: str = ""
    was_line: int = 0
    """In the README that the recipe follows; 0 where it does not say it."""
    now: str = ""
    now_line: int = 0
    """In the newer one; 0 where it no longer says it."""
    has: bool | None = None
    """Whether the recipe has what the newer one says; None where a recipe does not say such things."""
    recipe: str = ""
    """What the recipe has."""


def moved(old: Said, new: Said, has: Has) -> tuple[Moved, ...]:
    """Return what moved from one README to the other, in the newer one's order."""
    found = [
        *_facts(_plain(old), _plain(new), has),
        *_commands(
            [fact for fact in old.facts if fact.kind == "command"], [f for f in new.facts if f.kind == "command"]
        ),
    ]
    return tuple(sorted(found, key=lambda item: item.now_line or item.was_line))


def against_recipe(new: Said, has: Has) -> tuple[Moved, ...]:
    """Return what a README says and the recipe has otherwise; for want of the README that the recipe follows."""
    found = [
        Moved(
            kind=fact.kind,
            key=fact.key,
            now=fact.value,
            now_line=fact.line,
            has=False,
            recipe=has.value(fact),
        )
        for fact in new.facts
        if has.agrees(fact) is False
    ]
    return tuple(found)


def _facts(old: Iterable[Fact], new: Iterable[Fact], has: Has) -> Iterator[Moved]:
    before, after = _grouped(old), _grouped(new)
    for kind, key in dict.fromkeys((*before, *after)):
        was, now = before.get((kind, key), {}), after.get((kind, key), {})
        gone = [fact for value, fact in was.items() if value not in now]
        come = [fact for value, fact in now.items() if value not in was]
        # Where one value takes another's place, it is one thing that moved.
        for number in range(max(len(gone), len(come))):
            yield _moved(gone[number : number + 1], come[number : number + 1], has)


def _moved(gone: Sequence[Fact], come: Sequence[Fact], has: Has) -> Moved:
    fact = (come or gone)[0]
    agrees = has.agrees(fact)
    if not come and agrees is not None:
        # What is no longer said is right in a recipe that does not have it either.
        agrees = not agrees
    return Moved(
        kind=fact.kind,
        key=fact.key,
        was=gone[0].value if gone else "",
        was_line=gone[0].line if gone else 0,
        now=come[0].value if come else "",
        now_line=come[0].line if come else 0,
        has=agrees,
        recipe=has.value(fact),
    )


def _grouped(facts: Iterable[Fact]) -> dict[tuple[Kind, str], dict[str, Fact]]:
    found: dict[tuple[Kind, str], dict[str, Fact]] = {}
    for fact in facts:
        # One fact that is said twice is said where it stands first.
        found.setdefault((fact.kind, fact.key), {}).setdefault(fact.value, fact)
    return found


def _commands(old: list[Fact], new: list[Fact]) -> Iterator[Moved]:
    matcher = difflib.SequenceMatcher(a=[fact.key for fact in old], b=[fact.key for fact in new], autojunk=False)
    for word, start, end, first, last in matcher.get_opcodes():
        if word == "equal":
            continue
        for was, now in _pairs(old[start:end], new[first:last]):
            yield Moved(
                kind="command",
                key=(now or was).key,  # type: ignore[union-attr]
                was=was.key if was else "",
                was_line=was.line if was else 0,
                now=now.key if now else "",
                now_line=now.line if now else 0,
            )


def _pairs(gone: list[Fact], come: list[Fact]) -> Iterator[tuple[Fact | None, Fact | None]]:
    """Yield what took whose place: a command that resembles the one before it is that one, changed."""
    left, few = list(gone), len(gone) * len(come) <= _MANY
    for now in come:
        compared = left if few else []
        scored = [(difflib.SequenceMatcher(a=was.key, b=now.key).ratio(), was) for was in compared]
        best, was = max(scored, key=lambda item: item[0], default=(0.0, None))
        if was is not None and best >= _ALIKE:
            left.remove(was)
            yield was, now
        else:
            yield None, now
    for was in left:
        yield was, None


def _plain(said: Said) -> list[Fact]:
    return [fact for fact in said.facts if fact.kind != "command"]

"""The records of BuildKit's cache, as `docker buildx du --verbose` prints them, and what of them may go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from builder.engine.buildcache import parse_size

__all__ = ["Choice", "Record", "choose", "parse_records"]

_KEPT_KINDS = ("internal", "frontend")
"""What a prune without --all leaves."""
_ID = re.compile(r"[a-z0-9]{1,64}")
_SPANS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 604800,
    "month": 30 * 86400,
    "year": 365 * 86400,
}
_SPAN = re.compile(
    r"(?P<number>[0-9]+|[Aa]bout an?|[Ll]ess than a) (?P<unit>second|minute|hour|day|week|month|year)s?\b"
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\S* ([+-]\d{4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: the layer of a step, a cache mount, a copy of a local folder."""

    id: str
    bytes: int
    parents: tuple[str, ...] = ()
    reclaimable: bool = True
    """Whether no running build holds it."""
    shared: bool = False
    """Whether it is a layer of an image, too: then it stays until that is gone."""
    idle: int = 0
    """Seconds that it has at least not been used for; buildx rounds them."""
    kind: str = "regular"
    what: str = ""
    """The step it is of, as the Dockerfile has it."""

    @property
    def free(self) -> bool:
        """Whether a prune may take it, as far as it alone is asked."""
        return self.reclaimable and not self.shared and self.kind not in _KEPT_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What brings a cache down to a budget."""

    gone: tuple[Record, ...] = ()
    """A record comes after all that stand on it."""
    held: tuple[Record, ...] = ()
    """As old as was asked for; but what stands on them is younger, in use, or an image's."""

    @property
    def bytes(self) -> int:
        """What goes."""
        return sum(each.bytes for each in self.gone)


def parse_records(text: str, now: float) -> tuple[Record, ...]:
    """Read what `docker buildx du --verbose` prints, at `now` seconds since the epoch."""
    return tuple(_record(fields, now) for fields in _blocks(text) if _ID.fullmatch(fields.get("id", "")))


def _blocks(text: str) -> Iterable[dict[str, str]]:
    """Yield each record's fields. Several parents have commas between them or, of newer buildx, lines of their own."""
    fields: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if line.startswith("ID:"):
            yield fields
            fields = {}
        if line.lstrip().startswith("- ") and key == "parent":
            fields[key] = f"{fields.get(key, '')},{line.lstrip()[2:]}"
        elif colon:
            key = name.strip().lower().removesuffix("s")
            # A description may have lines that look like fields: the first of a name is the field.
            fields.setdefault(key, value.strip())
    yield fields


def _record(fields: Mapping[str, str], now: float) -> Record:
    used = fields.get("last used", "")
    return Record(
        id=fields["id"],
        bytes=parse_size(fields.get("size", "")) or 0,
        parents=tuple(part.strip() for part in fields.get("parent", "").split(",") if part.strip()),
        reclaimable=fields.get("reclaimable") == "true",
        shared=fields.get("shared") == "true",
        idle=_least(used) if used else _since(fields.get("created at", ""), now),
        kind=fields.get("type", "regular"),
        what=fields.get("description", ""),
    )


def _least(text: str) -> int:
    """Return the fewest seconds that a span of docker's stands for: above minutes it counts in rounded hours."""
    match = _SPAN.search(text)
    if not match or match["number"].lower().startswith("less"):
        return 0
    number = int(match["number"]) if match["number"].isdecimal() else 1
    seconds = number * _SPANS[match["unit"]]
    return max(3600, seconds - 1800) if _SPANS[match["unit"]] >= 3600 else seconds


def _since(text: str, now: float) -> int:
    match = _TIME.match(text)
    if not match:
        return 0
    return max(0, int(now - datetime.strptime(" ".join(match.groups()), "%Y-%m-%d %H:%M:%S %z").timestamp()))


def choose(records: Sequence[Record], *, seconds: int, budget: int) -> Choice:
    """Return what may go, least recently used first, until no more than `budget` bytes are left.

    A record is as young as the youngest that stands on it, and goes after all of them: BuildKit would not let it go
    before, and what is younger still needs it. Layers of images count neither way, because they stay.

    Args:
        records: all of a builder's.
        seconds: only what was not used for so long.
        budget: bytes that may stay.
    """
    order = _leaves_first(records)
    free, idle = _with_those_above(order)
    old = [each for each in order if each.free and each.idle >= seconds]
    may = sorted((each for each in old if free[each.id] and idle[each.id] >= seconds), key=lambda each: -idle[each.id])
    left = sum(each.bytes for each in records if not each.shared)
    gone: list[Record] = []
    for each in may:
        if left <= budget:
            break
        gone.append(each)
        left -= each.bytes
    known = {each.id for each in may}
    held = tuple(each for each in old if each.id not in known) if left > budget else ()
    return Choice(gone=tuple(gone), held=held)


def _leaves_first(records: Sequence[Record]) -> list[Record]:
    by_id = {each.id: each for each in records}
    above = dict.fromkeys(by_id, 0)
    for each in records:
        for parent in each.parents:
            if parent in above:
                above[parent] += 1
    ready, order = [each for each in records if not above[each.id]], list[Record]()
    while ready:
        each = ready.pop()
        order.append(each)
        for parent in each.parents:
            if parent in above:
                above[parent] -= 1
                if not above[parent]:
                    ready.append(by_id[parent])
    return order


def _with_those_above(order: Sequence[Record]) -> tuple[dict[str, bool], dict[str, int]]:
    """Return whether each record and all that stand on it are free, and for how long none of them was used."""
    free = {each.id: each.free for each in order}
    idle = {each.id: each.idle for each in order}
    for each in order:
        for parent in each.parents:
            if parent in free:
                free[parent] = free[parent] and free[each.id]
                idle[parent] = min(idle[parent], idle[each.id])
    return free, idle

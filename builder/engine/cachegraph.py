"""What a cache in a registry holds, as BuildKit's own description of it says, and what one lacks of others.

A cache is a graph of records. Each stands for one step, known by a digest of what the step does and by the records of
what it goes on from; `layers` say where its result is. A record without one leads to others all the same, so whoever
reads it knows the step, and has to run it when it is wanted. Pure: moby/buildkit, cache/remotecache/v1/types.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec

__all__ = ["CONFIG", "CacheGraph", "Lost", "holds_all", "lost_results"]

CONFIG = "application/vnd.buildkit.cacheconfig.v0"
"""The media type of the description, which is a manifest's config, or one of an index's manifests."""


class _Layer(msgspec.Struct, frozen=True):
    blob: str
    parent: int = -1


class _Result(msgspec.Struct, frozen=True):
    layer: int = 0


class _Link(msgspec.Struct, frozen=True):
    link: int = 0
    selector: str = ""


class _Record(msgspec.Struct, frozen=True):
    digest: str
    layers: tuple[_Result, ...] = ()
    inputs: tuple[tuple[_Link, ...], ...] = ()


class Lost(msgspec.Struct, frozen=True):
    """A step whose result was there to be read, and is not in what was written."""

    blob: str
    """Its own layer: a sha256."""


class CacheGraph(msgspec.Struct, frozen=True, dict=True):
    """One cache. Unknown fields are those of newer BuildKits, and say nothing about which results are there."""

    layers: tuple[_Layer, ...] = ()
    records: tuple[_Record, ...] = ()

    def __post_init__(self) -> None:
        if any(not 0 <= result.layer < len(self.layers) for record in self.records for result in record.layers):
            raise ValueError("a result's layer is not there")

    @cached_property
    def by_digest(self) -> dict[str, list[int]]:
        """Records by what their step does."""
        found: dict[str, list[int]] = {}
        for number, record in enumerate(self.records):
            found.setdefault(record.digest, []).append(number)
        return found

    @cached_property
    def users(self) -> dict[int, set[int]]:
        """Records that go on from a record."""
        found: dict[int, set[int]] = {}
        for number, record in enumerate(self.records):
            for ways in record.inputs:
                for way in ways:
                    found.setdefault(way.link, set()).add(number)
        return found

    @property
    def full(self) -> tuple[int, ...]:
        """Records that have their step's result."""
        return tuple(number for number, record in enumerate(self.records) if record.layers)

    @property
    def holes(self) -> bool:
        """Whether it knows steps without their results; records of sources never have any."""
        return any(record.inputs and not record.layers for record in self.records)

    def blob(self, number: int) -> str:
        """Return the topmost layer of a record that has a result."""
        return self.layers[self.records[number].layers[0].layer].blob


def lost_results(read: Sequence[CacheGraph], written: CacheGraph) -> tuple[Lost, ...]:
    """Return the steps that `written` knows without their results, though a cache that was read has those."""
    found: dict[int, Lost] = {}
    for old in read:
        same = _same(old, written)
        for number in old.full:
            twins = same.get(number, ())
            # One step can have several records, by what it was made from and by its content; one result is enough.
            if twins and not any(written.records[twin].layers for twin in twins):
                found.setdefault(min(twins), Lost(old.blob(number)))
    return tuple(found[number] for number in sorted(found))


def holds_all(cache: CacheGraph, other: CacheGraph) -> bool:
    """Return whether `cache` has every result that `other` has."""
    same = _same(other, cache)
    return all(any(cache.records[twin].layers for twin in same.get(number, ())) for number in other.full)


def _same(left: CacheGraph, right: CacheGraph) -> Mapping[int, set[int]]:
    """Return which records of `right` are the step that a record of `left` is.

    They do the same, and for each input they go on from the same in one way at least.
    """
    found: dict[int, set[int]] = {}
    # From the sources on, as far as it goes; not by recursion, because a registry may hold any depth, and loops.
    todo = deque(number for number, record in enumerate(left.records) if not record.inputs)
    while todo:
        mine = todo.popleft()
        record, known = left.records[mine], found.setdefault(mine, set())
        others = (other for other in right.by_digest.get(record.digest, ()) if other not in known)
        if new := [other for other in others if _agree(record, right.records[other], found)]:
            known.update(new)
            todo.extend(left.users.get(mine, ()))
    return found


def _agree(mine: _Record, other: _Record, found: Mapping[int, set[int]]) -> bool:
    if len(mine.inputs) != len(other.inputs):
        return False
    return all(
        any(a.selector == b.selector and b.link in found.get(a.link, ()) for a in ways for b in other_ways)
        for ways, other_ways in zip(mine.inputs, other.inputs, strict=True)
    )

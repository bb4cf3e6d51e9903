"""What of BuildKit's cache goes: what a record is, and in which order they go."""

from __future__ import annotations

import pytest

from builder.engine.cacherecords import Record, choose, parse_records

DU = """\
ID:\t\tj6umspcytzqf9x316wxna7gw4
Created at:\t2026-11-21 17:31:35.255368826 +0000 UTC
Mutable:\ttrue
Reclaimable:\ttrue
Shared:\t\tfalse
Size:\t\t5MB
Description:\tlocal source for context
Usage count:\t1
Last used:\t9 days ago
Type:\t\tsource.local

ID:\t\ttgdzy8sggu7s9j52cn8pufshw
Parent:\t2uky8ep5la7etkn473hxbuve3,mx4b2tgx8i38m8n1qcafzrxy3
Created at:\t2026-11-21 17:31:35.369786743 +0000 UTC
Mutable:\ttrue
Reclaimable:\tfalse
Shared:\t\ttrue
Size:\t\t2.5GB
Description:\t[one 2/2] RUN echo ID: x && echo Size: 1TB
Usage count:\t0
Type:\t\tregular

Shared:\t\t2.5GB
Private:\t5MB
Reclaimable:\t5MB
Total:\t\t2.505GB
"""
NEWER = """\
ID:     tgdzy8sggu7s9j52cn8pufshw
Parents:
 - 2uky8ep5la7etkn473hxbuve3
 - mx4b2tgx8i38m8n1qcafzrxy3
Created at:     2026-11-21 17:31:35.369786743 +0000 UTC
Mutable:        true
Reclaimable:    true
Shared:         false
Size:           2.5GB
Description:    [one 2/2] COPY b /
Usage count:    1
Last used:      2 hours ago
Type:           regular
"""


def test_records_are_read_with_all_their_parents() -> None:
    first, second = parse_records(DU, now=1_795_282_295 + 100)
    assert (first.id, first.bytes, first.parents) == ("j6umspcytzqf9x316wxna7gw4", 5_000_000, ())
    assert (first.kind, first.free, first.idle) == ("source.local", True, 9 * 86400 - 1800)
    assert (second.bytes, second.free) == (2_500_000_000, False)
    assert second.parents == ("2uky8ep5la7etkn473hxbuve3", "mx4b2tgx8i38m8n1qcafzrxy3")
    # Never used: as old as it is.
    assert second.idle == 100
    (newer,) = parse_records(NEWER, now=0)
    assert newer.parents == second.parents
    assert newer.idle == 2 * 3600 - 1800


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        ("Less than a second ago", 0),
        ("1 second ago", 1),
        ("59 seconds ago", 59),
        ("About a minute ago", 60),
        ("About an hour ago", 3600),
        ("47 hours ago", 47 * 3600 - 1800),
        ("2 weeks ago", 14 * 86400 - 1800),
        ("3 months ago", 90 * 86400 - 1800),
        ("some time ago", 0),
    ],
)
def test_a_rounded_span_is_as_short_as_it_can_be(span: str, seconds: int) -> None:
    (record,) = parse_records(f"ID:\tabc\nSize:\t1B\nReclaimable:\ttrue\nLast used:\t{span}\n", now=0)
    assert record.idle == seconds


def test_an_id_that_is_none_is_no_word_of_a_filter() -> None:
    assert parse_records("ID:\t.*\nSize:\t1B\n\nID:\ta|b\nSize:\t1B\n", now=0) == ()


def record(name: str, *parents: str, size: int = 10, idle: int = 100, **other: object) -> Record:
    return Record(id=name, bytes=size, parents=parents, idle=idle, **other)  # type: ignore[arg-type]


def names(records: tuple[Record, ...]) -> list[str]:
    return [each.id for each in records]


def test_the_least_recently_used_goes_first_until_the_budget_is_met() -> None:
    records = [record("new", idle=5), record("old", idle=50), record("older", idle=90)]
    assert names(choose(records, seconds=0, budget=20).gone) == ["older"]
    assert names(choose(records, seconds=0, budget=19).gone) == ["older", "old"]
    assert names(choose(records, seconds=0, budget=30).gone) == []
    assert choose(records, seconds=0, budget=0).bytes == 30


def test_leaves_go_before_what_they_stand_on() -> None:
    # The parents' own last use is longer ago: BuildKit would be asked for them first, and would not do it.
    records = [record("base", idle=900), record("torch", "base", idle=800), record("env", "torch", idle=700)]
    choice = choose(records, seconds=60, budget=0)
    assert names(choice.gone) == ["env", "torch", "base"]
    assert names(choose(records, seconds=60, budget=15).gone) == ["env", "torch"]


def test_what_something_younger_stands_on_is_as_young_and_stays() -> None:
    records = [
        record("torch", size=5000, idle=900),
        record("env", "torch", idle=10),
        record("gone", "torch", idle=800),
        record("merged", "gone", "lone", idle=800),
        record("lone", idle=900),
    ]
    choice = choose(records, seconds=60, budget=0)
    assert names(choice.gone) == ["merged", "gone", "lone"] or names(choice.gone) == ["merged", "lone", "gone"]
    # It was asked for, by its age: why it stays is to be said.
    assert names(choice.held) == ["torch"]


@pytest.mark.parametrize("why", [{"reclaimable": False}, {"shared": True}, {"kind": "frontend"}])
def test_what_a_build_or_an_image_has_stays_with_all_below(why: dict[str, object]) -> None:
    records = [record("torch"), record("env", "torch", **why), record("other")]
    choice = choose(records, seconds=0, budget=0)
    assert names(choice.gone) == ["other"]
    assert names(choice.held) == ["torch"]


def test_layers_of_images_do_not_count_against_the_budget() -> None:
    records = [record("layer", size=1000, shared=True), record("a", idle=9), record("b", idle=8)]
    assert names(choose(records, seconds=0, budget=10).gone) == ["a"]
    assert names(choose(records, seconds=0, budget=20).gone) == []


def test_a_long_chain_is_no_deep_recursion() -> None:
    records = [record("n0"), *(record(f"n{number}", f"n{number - 1}") for number in range(1, 5000))]
    assert names(choose(records, seconds=0, budget=0).gone) == [f"n{number}" for number in reversed(range(5000))]

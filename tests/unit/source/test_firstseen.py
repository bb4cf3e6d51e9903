"""What was first seen: read, written, looked up and compared. Nothing is asked here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.files import texts, toy
from support.runner import RecordingRunner

from builder.engine.process import Result
from builder.errors import PlanError, SourceError
from builder.plan.firstseen import (
    FIRST_SEEN,
    HEAD,
    Record,
    Unpublished,
    first_seen,
    parse_records,
    recorded,
    records_text,
    unpublished,
)
from builder.plan.patched import patched_by
from builder.recipe.load import load
from builder.recipe.types import Catalog
from builder.source.firstseen import Seen, look_image, read_records, review, surplus, write_records

A, B = "a" * 64, "b" * 64
TODAY = "2026-11-21"
WHEEL = "https://example.org/wheel.whl"
WEIGHT = "https://example.org/weight.pth"
EULA = '{name: cann, url: "https://example.org/eula"}'
SOURCES = f"""{{
  wheel: {{type: archive, url: "{WHEEL}", sha256: null}},
  runfile: {{type: archive, url: "https://example.org/cann.run", sha256: null, eula: {EULA},
            referer: "https://example.org/"}},
  known: {{type: archive, url: "https://example.org/known.tgz", sha256: {A}}},
  toy-source: {{type: git, url: "https://example.org/toy.git", commit: {"e" * 40}}}}}"""
WEIGHTS = f"""[
  {{file: w.pth, target: ckpts/w.pth, url: "{WEIGHT}"}},
  {{file: w.pth, target: hub/w.pth, home: torch, url: "{WEIGHT}"}},
  {{file: by-hand.pth, target: ckpts/by-hand.pth, url: null}},
  {{file: known.pth, target: ckpts/known.pth, url: "https://example.org/k.pth", sha256: {A}}}]"""


def catalog(lock: str = "", **changes: str) -> Catalog:
    model = {"sources": SOURCES, "weights": WEIGHTS} | changes
    return load(texts(toy(**model)), {FIRST_SEEN: lock} if lock else {})


def record(thing: Unpublished, sha256: str = A, *, size: int = 7, date: str = "2026-01-01") -> Record:
    return Record(key=thing.key, sha256=sha256, size=size, date=date, mark=thing.mark)


THINGS = {thing.key: thing for thing in unpublished(catalog())}


def test_all_that_has_a_url_and_no_checksum_is_found() -> None:
    assert list(THINGS) == ["archive:runfile", "archive:wheel", "image:example/base", "weight:toy/w.pth"]
    assert THINGS["archive:runfile"].eula == "cann"
    assert THINGS["archive:runfile"].referer == "https://example.org/"
    assert not THINGS["archive:wheel"].eula
    assert THINGS["weight:toy/w.pth"].url == WEIGHT


def test_a_bootstrapped_base_or_one_with_a_digest_is_not_asked_for() -> None:
    found = catalog()
    platform = found.platforms["plat"]
    for base in (
        replace(platform.base, digest=f"sha256:{A}"),
        replace(platform.base, bootstrap=load_bootstrap()),
    ):
        platforms = {"plat": replace(platform, base=base)}
        assert not [thing for thing in unpublished(replace(found, platforms=platforms)) if thing.kind == "image"]


def load_bootstrap() -> object:
    from builder.recipe.types import Bootstrap

    return Bootstrap(suite="bookworm", include=())


def test_the_text_has_a_head_and_sorted_lines_that_are_read_back() -> None:
    records = [record(thing) for thing in reversed(THINGS.values())]
    text = records_text(records)
    lines = text.splitlines()
    assert tuple(lines[:2]) == HEAD
    assert lines[2:] == sorted(lines[2:])
    assert lines[3] == f"archive:wheel sha256:{A} 7 2026-01-01 url:{THINGS['archive:wheel'].mark}"
    assert parse_records(text) == {item.key: item for item in records}
    assert text.endswith("\n")


NAMES = st.from_regex(r"[a-z0-9]+([._:/-][A-Za-z0-9]+)*\Z", fullmatch=True)


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["archive", "image", "weight"]), NAMES).map(":".join),
        st.tuples(st.integers(0, 2**256 - 1), st.integers(0, 10**15), st.dates(), NAMES),
        max_size=4,
    )
)
def test_whatever_is_written_is_read_back(rows: dict[str, tuple[int, int, object, str]]) -> None:
    records = {}
    for key, (number, size, day, url) in rows.items():
        kind, _, name = key.partition(":")
        thing = Unpublished(kind=kind, name=name, url=url)
        records[key] = record(thing, f"{number:064x}", size=size, date=str(day))
    assert parse_records(records_text(records.values())) == records


@pytest.mark.parametrize(
    "line",
    [
        "archive:wheel",
        f"archive:wheel sha256:{A[:-1]} 7 2026-01-01 url:{'0' * 16}",
        f"archive:wheel sha256:{A.upper()} 7 2026-01-01 url:{'0' * 16}",
        f"archive:wheel sha256:{A} -7 2026-01-01 url:{'0' * 16}",
        f"archive:wheel sha256:{A} 7 01.01.2026 url:{'0' * 16}",
        f"archive:wheel sha256:{A} 7 2026-01-01 url:{'0' * 15}",
        f"archive:wheel sha256:{A} 7 2026-01-01 url:{'0' * 16} more",
        f"git:wheel sha256:{A} 7 2026-01-01 url:{'0' * 16}",
        "<<<<<<< ours",
    ],
)
def test_a_line_that_is_no_record_is_named(line: str) -> None:
    with pytest.raises(PlanError, match=rf"\Alocks/{FIRST_SEEN}:3: not a record") as caught:
        parse_records(f"# head\n\n{line}\n")
    assert "drivebuild lock" in caught.value.hint


def test_two_lines_of_one_file_must_not_contradict_but_a_later_file_wins() -> None:
    thing = THINGS["archive:wheel"]
    first, second = records_text([record(thing, A)]), records_text([record(thing, B)])
    with pytest.raises(PlanError, match="'archive:wheel' is recorded twice"):
        parse_records(f"{first}{second.splitlines()[-1]}\n")
    assert parse_records(first + second)[thing.key].sha256 == B


def test_a_checksum_is_given_in_the_recipes_own_form() -> None:
    lock = records_text([record(thing) for thing in THINGS.values()])
    found = catalog(lock)
    assert first_seen(found, "archive", "wheel") == A
    assert first_seen(found, "weight", "toy/w.pth") == A
    assert first_seen(found, "image", "example/base") == f"sha256:{A}"
    assert first_seen(catalog(), "archive", "wheel") is None
    assert first_seen(found, "archive", "gone") is None


def test_what_was_seen_under_another_url_is_another_thing() -> None:
    lock = records_text([record(THINGS["archive:wheel"])])
    moved = catalog(lock, sources=SOURCES.replace(WHEEL, WHEEL + "?2"))
    assert first_seen(moved, "archive", "wheel") is None
    thing = next(thing for thing in unpublished(moved) if thing.name == "wheel")
    assert recorded(thing, parse_records(lock)) is None


def test_the_recipes_own_checksum_comes_before_what_was_seen() -> None:
    lock = records_text([record(THINGS["archive:wheel"])])
    published = catalog(lock, sources=SOURCES.replace(f'"{WHEEL}", sha256: null', f'"{WHEEL}", sha256: {B}'))
    assert first_seen(published, "archive", "wheel") is None


def test_a_damaged_lock_is_an_error_also_when_something_is_looked_up() -> None:
    with pytest.raises(PlanError, match=FIRST_SEEN):
        first_seen(catalog("nonsense\n"), "archive", "wheel")


def look(sha256: str = A, size: int = 7):
    def answer(thing: Unpublished, _stop: object) -> Seen:
        return Seen(sha256, size)

    return answer


def test_what_is_seen_for_the_first_time_is_recorded_with_the_day() -> None:
    outcome = review(tuple(THINGS.values()), {}, look(), TODAY)
    assert [item.key for item in outcome.new] == list(THINGS)
    assert {item.date for item in outcome.records.values()} == {TODAY}
    assert outcome.records["archive:wheel"].size == 7
    assert not outcome.differing


def test_what_is_the_same_keeps_its_day() -> None:
    thing = THINGS["archive:wheel"]
    before = {thing.key: record(thing)}
    outcome = review([thing], before, look(), TODAY)
    assert outcome.records == before
    assert outcome.same == [before[thing.key]]
    assert not outcome.new


def test_a_difference_is_told_with_both_and_never_recorded() -> None:
    thing = THINGS["archive:wheel"]
    before = {thing.key: record(thing)}
    outcome = review([thing], before, look(B, 8), TODAY)
    assert outcome.records == before
    (text,) = outcome.differing
    assert f"recorded sha256:{A} 7 bytes, first seen on 2026-01-01" in text
    assert f"seen     sha256:{B} 8 bytes" in text
    assert WHEEL in text
    assert not outcome.new
    assert not outcome.replaced


def test_only_what_is_named_is_replaced() -> None:
    wheel, weight = THINGS["archive:wheel"], THINGS["weight:toy/w.pth"]
    before = {thing.key: record(thing) for thing in (wheel, weight)}
    outcome = review([wheel, weight], before, look(B), TODAY, replace={wheel.key})
    assert outcome.records[wheel.key].sha256 == B
    assert outcome.records[wheel.key].date == TODAY
    assert outcome.records[weight.key].sha256 == A
    assert [(old.sha256, new.sha256) for old, new in outcome.replaced] == [(A, B)]
    assert len(outcome.differing) == 1


def test_another_url_is_seen_for_the_first_time() -> None:
    thing = THINGS["archive:wheel"]
    old = Unpublished(kind="archive", name="wheel", url="https://example.org/elsewhere")
    outcome = review([thing], {thing.key: record(old, B)}, look(), TODAY)
    assert outcome.records[thing.key] == record(thing, date=TODAY)
    assert not outcome.differing


def test_one_that_cannot_be_reached_does_not_stop_the_others() -> None:
    def answer(thing: Unpublished, _stop: object) -> Seen:
        if thing.kind == "image":
            raise SourceError("no such\nhost", hint="look it up")
        return Seen(A, 7)

    outcome = review(tuple(THINGS.values()), {}, answer, TODAY)
    assert outcome.missed == {"image:example/base": "no such host; look it up"}
    assert len(outcome.new) == len(THINGS) - 1


def test_a_full_disk_is_not_taken_for_a_host_that_does_not_answer() -> None:
    def answer(_thing: Unpublished, _stop: object) -> Seen:
        raise SourceError("no space left") from OSError(28, "No space left on device")

    with pytest.raises(SourceError, match=r"\Ano space left\Z"):
        review(tuple(THINGS.values()), {}, answer, TODAY)


def test_two_things_behind_one_url_are_looked_at_once() -> None:
    asked: list[str] = []

    def answer(thing: Unpublished, _stop: object) -> Seen:
        asked.append(thing.key)
        return Seen(A, 7)

    things = [Unpublished(kind="weight", name=f"{name}/w", url=WEIGHT) for name in ("one", "two")]
    assert len(review(things, {}, answer, TODAY).new) == 2
    assert asked == ["weight:one/w"]


def test_a_line_that_names_nothing_any_more_is_surplus() -> None:
    thing = THINGS["archive:wheel"]
    gone = Unpublished(kind="weight", name="toy/old.pth", url=WEIGHT)
    moved = Unpublished(kind="image", name="example/base", url="example/other")
    found = surplus({item.key: record(item) for item in (thing, gone, moved)}, THINGS.values())
    assert list(found) == ["weight:toy/old.pth", "image:example/base"]
    assert found["image:example/base"] == "its URL is another one now: example/base"


def test_the_file_is_written_read_and_removed_when_nothing_is_left(tmp_path: Path) -> None:
    records = {key: record(thing) for key, thing in THINGS.items()}
    assert read_records(tmp_path) == {}
    write_records(tmp_path, records)
    assert read_records(tmp_path) == records
    assert [path.name for path in tmp_path.iterdir()] == [FIRST_SEEN]
    write_records(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    write_records(tmp_path, {})


INSPECT = ("docker", "buildx", "imagetools", "inspect", "example/base", "--format", "{{json .Manifest}}")


def test_an_image_is_what_its_index_says() -> None:
    answer = {"mediaType": "index", "digest": f"sha256:{B}", "size": 1609, "manifests": [{"digest": f"sha256:{A}"}]}
    runner = RecordingRunner(answers={INSPECT: Result(0, json.dumps(answer).encode())})
    assert look_image("example/base", runner) == Seen(B, 1609)
    assert runner.asked == [INSPECT]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (Result(1, b"", b"#1 trying\nERROR: no such host"), r"\AERROR: no such host\Z"),
        (Result(1), "docker ended with 1"),
        (Result(0, b"not json"), "says no digest"),
        (Result(0, b"null"), "says no digest"),
        (Result(0, b'{"digest": "sha256:short", "size": 1}'), "sha256:short"),
        (Result(0, b'{"digest": null, "size": 1}'), "says no digest"),
    ],
)
def test_a_registry_that_says_no_digest_is_not_reached(result: Result, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        look_image("example/base", RecordingRunner(answers={INSPECT: result}))


PATCH = "{do: patch, source: sdk, path: ops.patch}"
EDIT = "{do: edit, file: a, find: b, replace: c}"


@pytest.mark.parametrize(
    ("changes", "source", "expected"),
    [
        ({}, "toy-source", ()),
        ({"tree": f"{{source: toy-source, directory: Tree, steps: [{EDIT}]}}"}, "toy-source", ("toy",)),
        ({"tree": f"{{source: toy-source, directory: Tree, steps: [{PATCH}]}}"}, "sdk", ("toy",)),
        ({"components": f'[{{name: ops, version: "1.0", steps: [{EDIT}]}}]'}, "ops", ("toy",)),
        ({"overlays": f"[{{component: ops, steps: [{PATCH}]}}]"}, "ops", ("toy",)),
        ({"overlays": f"[{{component: ops, steps: [{PATCH}]}}]"}, "sdk", ("toy",)),
        ({"overlays": f"[{{component: ops, steps: [{EDIT}]}}]"}, "sdk", ()),
    ],
)
def test_the_models_that_a_moved_source_concerns(changes: dict[str, str], source: str, expected: tuple[str]) -> None:
    found = load(texts(toy(**changes)), {})
    assert patched_by(found, source) == expected

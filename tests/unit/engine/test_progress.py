"""The decoder of rawjson, over what a real buildx printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.engine.progress import Decoder, Event, Log, Text, Vertex

RECORDED = Path(__file__).parent / "recorded"
ALL = sorted(path.name for path in RECORDED.glob("*.json"))


def decoded(data: bytes, size: int) -> list[Event]:
    decoder = Decoder()
    events = [event for start in range(0, len(data), size) for event in decoder.feed(data[start : start + size])]
    return events + decoder.finish()


@pytest.mark.parametrize("name", ALL)
def test_the_size_of_the_pieces_does_not_matter(name: str) -> None:
    data = (RECORDED / name).read_bytes()
    whole = decoded(data, len(data))
    assert whole
    assert decoded(data, 7) == whole
    assert decoded(data, 4096) == whole


@pytest.mark.parametrize("name", ["success.json", "cached.json", "context.json"])
def test_one_object_a_line_is_the_same(name: str) -> None:
    data = (RECORDED / name).read_text()
    lines, start, parser = [], 0, json.JSONDecoder()
    while start < len(data.rstrip()):
        value, start = parser.raw_decode(data, start)
        lines.append(json.dumps(value))
        start += len(data[start:]) - len(data[start:].lstrip())
    compact = "\n".join(lines).encode() + b"\n"
    assert decoded(compact, 1000) == decoded(data.encode(), 1000)


def test_text_between_objects_is_kept_as_lines() -> None:
    events = decoded((RECORDED / "failed.json").read_bytes(), 512)
    lines = [event.line for event in events if isinstance(event, Text)]
    assert lines[0] == "Dockerfile:5"
    assert lines[-1].startswith("ERROR: failed to solve:")


def test_a_line_that_only_begins_like_an_object_is_text() -> None:
    data = b'{not json} at all, and quite a bit longer than that\n{"vertexes": [{"digest": "d", "name": "n"}]}\n'
    assert decoded(data, 5) == [Text("{not json} at all, and quite a bit longer than that"), Vertex("d", "n")]


def test_an_object_that_never_ends_is_no_error() -> None:
    assert decoded(b'{"vertexes": [{"dig', 100) == [Text('{"vertexes": [{"dig')]


def test_bytes_that_are_no_utf8_and_logs_that_are_no_base64_are_no_error() -> None:
    assert decoded(b"\xff\xfe oops\n", 1) == [Text("�� oops")]
    assert decoded(b'{"logs": [{"vertex": "v", "data": "*"}]}', 100) == [Log("v", "")]


def test_times_with_nine_digits_and_zones() -> None:
    text = b'{"vertexes": [{"digest": "d", "started": "2026-01-01T01:00:00.123456789+01:00", "completed": "bad"}]}'
    (vertex,) = decoded(text, 100)
    assert isinstance(vertex, Vertex)
    assert vertex.started == pytest.approx(1767225600.123457)
    assert vertex.completed is None

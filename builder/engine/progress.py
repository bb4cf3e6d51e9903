"""`docker buildx build --progress=rawjson` as typed events. Pure: bytes in, events out.

buildx 0.13 prints indented JSON objects, newer ones print one a line, and both print plain text when they
fail. So the stream is decoded as JSON values with text between them, and never line by line.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

__all__ = ["Decoder", "Event", "Log", "Status", "Text", "Vertex"]

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_NEAR_END = 16
"""An incomplete value fails to parse this near to the end of the text; a line that is no JSON fails earlier."""


@dataclass(frozen=True, slots=True)
class Vertex:
    """A step of the build: declared, started, completed, cached or failed. Times are seconds since 1970."""

    digest: str
    name: str
    inputs: tuple[str, ...] = ()
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """How far a part of a step is: bytes of a download, layers of an export."""

    vertex: str
    id: str
    name: str = ""
    current: int = 0
    total: int = 0
    completed: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """A piece of a step's output; not always a whole line."""

    vertex: str
    data: str
    stream: int = 1


@dataclass(frozen=True, slots=True)
class Text:
    """A line that buildx printed outside of its JSON: warnings, and the error at the end."""

    line: str


Event = Vertex | Status | Log | Text


class Decoder:
    """Keeps what is not complete yet."""

    def __init__(self) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._json = json.JSONDecoder()
        self._text = ""

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that are complete with this piece."""
        self._text += self._bytes.decode(piece)
        return self._events(final=False)

    def finish(self) -> list[Event]:
        """Return what is left when the stream has ended."""
        self._text += self._bytes.decode(b"", final=True)
        return self._events(final=True)

    def _events(self, *, final: bool) -> list[Event]:
        events: list[Event] = []
        start = 0
        while True:
            start = _skip_blank(self._text, start)
            found, end = self._next(start, final=final)
            if end == start:
                break
            events.extend(found)
            start = end
        self._text = self._text[start:]
        return events

    def _next(self, start: int, *, final: bool) -> tuple[Iterable[Event], int]:
        """Return the next events and where they end; the same place when nothing is complete."""
        if start == len(self._text):
            return (), start
        if self._text[start] == "{":
            try:
                value, end = self._json.raw_decode(self._text, start)
                return _of_value(value), end
            except json.JSONDecodeError as error:
                if not final and _incomplete(error, len(self._text)):
                    return (), start
        end = self._text.find("\n", start)
        if end < 0:
            end = len(self._text) if final else start
        return (Text(self._text[start:end].rstrip()),), end


def _skip_blank(text: str, start: int) -> int:
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    return start


def _incomplete(error: json.JSONDecodeError, length: int) -> bool:
    return error.msg.startswith("Unterminated string") or length - error.pos < _NEAR_END


def _of_value(value: Mapping[str, Any]) -> Iterable[Event]:
    for item in value.get("vertexes") or ():
        yield Vertex(
            digest=item.get("digest", ""),
            name=item.get("name", ""),
            inputs=tuple(item.get("inputs") or ()),
            started=_seconds(item.get("started")),
            completed=_seconds(item.get("completed")),
            cached=bool(item.get("cached")),
            error=item.get("error", ""),
        )
    for item in value.get("statuses") or ():
        yield Status(
            vertex=item.get("vertex", ""),
            id=item.get("id", ""),
            name=item.get("name", ""),
            current=int(item.get("current") or 0),
            total=int(item.get("total") or 0),
            completed=bool(item.get("completed")),
        )
    for item in value.get("logs") or ():
        yield Log(vertex=item.get("vertex", ""), data=_decoded(item.get("data")), stream=int(item.get("stream") or 1))
    for item in value.get("warnings") or ():
        short = _decoded(item.get("short"))
        if short:
            yield Text(f"WARNING: {short}")


def _decoded(data: str | None) -> str:
    try:
        return base64.b64decode(data or "").decode("utf-8", "replace")
    except ValueError:
        return ""


def _seconds(stamp: str | None) -> float | None:
    """Return an RFC 3339 time as seconds; Python 3.10 reads neither nine digits nor `Z`."""
    match = _TIME.fullmatch(stamp or "")
    if not match:
        return None
    zone = "+00:00" if match[3] in (None, "Z") else match[3]
    whole = datetime.fromisoformat(match[1] + zone).astimezone(timezone.utc).timestamp()
    return whole + float(match[2] or 0)

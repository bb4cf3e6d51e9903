"""YAML text to plain data, with the place of every value. Pure: it reads text, not files.

Only what a recipe needs is understood: YAML 1.2's core scalars (so `on:` is a string and `8.10` a number
that is then refused where a version is wanted), no anchors, aliases, merge keys or tags. Without aliases
no document can be a bomb, and reading stops at the first value that is nested too deep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

__all__ = ["Document", "Mistake", "Place", "parse"]

PathKey = str | int
DataPath = tuple[PathKey, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
# What YAML forbids or takes for a line break of its own: then lines would not be those an editor counts.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]|\r(?!\n)")
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 40
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _cells(text: str) -> int:
    """Return how many cells of a terminal `text` takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


class Place(NamedTuple):
    """Line and column, both counted from 1; a tuple, for every value of hundreds of files has one."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with a file, where it is, and perhaps what was meant."""

    file: str
    place: Place
    message: str
    hint: str = ""
    line_text: str = ""

    def render(self) -> str:
        """Return `file:line:column: message`, the line, and a caret under the place."""
        where = f"{self.file}:{self.place.line}:{self.place.column}: {self.message}"
        parts = [f"{where} ({self.hint})" if self.hint else where]
        if self.line_text.strip():
            # A very long line is cut around the caret, which must stay in sight.
            start = max(0, self.place.column - 61)
            shown = self.line_text[start : start + 100].replace("\t", " ").rstrip("\r")
            parts += [f"    {shown}", "    " + " " * _cells(shown[: self.place.column - 1 - start]) + "^"]
        return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data, and where each value and each key of it stands."""

    file: str
    text: str
    data: Any
    values: dict[DataPath, Place]
    keys: dict[DataPath, Place]
    raw: dict[DataPath, str] = field(default_factory=dict)
    """What was written where a number or a truth value was read: `8.10`, which is not `8.1` to a human."""
    mistakes: tuple[Mistake, ...] = ()

    def mistake(self, path: DataPath, message: str, *, hint: str = "", at_key: bool = False) -> Mistake:
        """Return a mistake at the value of `path` (or at its key), or at the nearest place above it."""
        table = self.keys if at_key else self.values
        place = table.get(path)
        while place is None and path:
            path = path[:-1]
            place = self.values.get(path)
        place = place or Place(1, 1)
        lines = self.text.split("\n")
        line = lines[place.line - 1] if place.line <= len(lines) else ""
        return Mistake(self.file, place, message, hint, line)


def parse(content: bytes, file: str) -> Document:
    """Return the document in `content`; what is wrong with it is in its `mistakes`, never raised."""
    problem = _not_text(content, file)
    if problem:
        return _broken(file, "", problem)
    text = content.decode("utf-8").removeprefix("\ufeff")
    control = _CONTROL.search(text)
    if control:
        return _broken(file, text, _control_mistake(control, file, text))
    reader = _Reader(file, text)
    try:
        data = reader.document()
    except yaml.MarkedYAMLError as error:
        return _broken(file, text, _syntax_mistake(error, file, text))
    except yaml.YAMLError as error:
        return _broken(file, text, Mistake(file, Place(1, 1), f"not YAML: {error}"))
    except _TooDeepError as error:
        return _broken(file, text, error.mistake)
    return Document(file, text, data, reader.values, reader.keys, reader.raw, tuple(reader.mistakes))


def _broken(file: str, text: str, mistake: Mistake) -> Document:
    return Document(file, text, None, {}, {}, {}, (mistake,))


def _not_text(content: bytes, file: str) -> Mistake | None:
    if len(content) > _MAX_BYTES:
        return Mistake(file, Place(1, 1), f"the file has {len(content)} bytes; a recipe has at most {_MAX_BYTES}")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        begin = before.rfind(b"\n") + 1
        # The bytes before the bad one are sound: columns count characters, as everywhere.
        column = len(before[begin:].decode("utf-8")) + 1
        end = content.find(b"\n", begin)
        shown = content[begin : end if end >= 0 else len(content)].decode("utf-8", "replace")
        shown = _CONTROL.sub("\ufffd", shown)
        return Mistake(file, Place(line, column), "not UTF-8", "save the file as UTF-8", shown)
    return None


def _control_mistake(control: re.Match[str], file: str, text: str) -> Mistake:
    begin = text.rfind("\n", 0, control.start()) + 1
    place = Place(text.count("\n", 0, begin) + 1, control.start() - begin + 1)
    shown = _CONTROL.sub("\ufffd", text[begin:].split("\n", 1)[0])
    number = ord(control.group()[0])
    return Mistake(file, place, f"not YAML: the control character U+{number:04X} is not allowed", "remove it", shown)


def _syntax_mistake(error: yaml.MarkedYAMLError, file: str, text: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    hint = "indent with spaces, not tabs" if "\t" in line[: place.column + 1] else ""
    return Mistake(file, place, f"not YAML: {error.problem or error.context}", hint, line)


class _TooDeepError(Exception):
    """Ends the reading: deeper nesting only costs time, in libyaml quadratically."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.message)
        self.mistake = mistake


class _Reader:
    """Goes through the parser's events once; collects data, places and mistakes.

    Events and not a composed tree: they still know anchors and tags, and nothing recurses before the depth is checked.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines = text.split("\n")
        self.values: dict[DataPath, Place] = {}
        self.keys: dict[DataPath, Place] = {}
        self.raw: dict[DataPath, str] = {}
        self.mistakes: list[Mistake] = []
        self._anchors: set[str] = set()
        # As yaml.parse, whose generator asks twice for each of tens of thousands of events.
        self._events: Iterator[Any] = iter(_LOADER(text).get_event, None)

    def document(self) -> Any:
        """Return the data of the one document there is."""
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            hint = "a recipe is a mapping of keys to values"
            self.mistakes.append(Mistake(self.file, Place(1, 1), "the file is empty", hint))
            return None
        data = self._value(next(self._events), ())
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._wrong(after, "a second document begins here", "one recipe per file")
        return data

    def _value(self, event: Any, path: DataPath) -> Any:
        self.values[path] = _place(event)
        if len(path) > _MAX_DEPTH:
            raise _TooDeepError(self._mistake(event, f"nested more than {_MAX_DEPTH} levels deep"))
        sound = self._plain(event)
        if isinstance(event, yaml.AliasEvent):
            return None
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        result = self._scalar(event) if sound else None
        if isinstance(result, int | float):
            self.raw[path] = event.value
        return result

    def _plain(self, event: Any) -> bool:
        """Return whether a value or key has neither anchor nor tag; say so when it has."""
        # Each anchor is told once, however often it is used.
        if event.anchor is not None and event.anchor not in self._anchors:
            self._anchors.add(event.anchor)
            self._wrong(event, "anchors and aliases are not allowed in a recipe", "write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            self._wrong(event, f"tags such as {shown[:60]!r} are not allowed in a recipe", "remove it")
        return event.anchor is None and tag is None

    def _sequence(self, path: DataPath) -> list[Any]:
        result: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            result.append(self._value(event, (*path, len(result))))
        return result

    def _mapping(self, path: DataPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path, result)
            value = self._value(next(self._events), (*path, "?" if key is None else key))
            if key is not None:
                result[key] = value
        return result

    def _key(self, event: Any, path: DataPath, known: Mapping[str, Any]) -> str | None:
        if not isinstance(event, yaml.ScalarEvent):
            self._wrong(event, "a key must be a plain word")
            self._value(event, (*path, "?"))
            return None
        self._plain(event)
        key: str = event.value
        if key in known:
            first = self.keys[(*path, key)]
            self._wrong(event, f"duplicate key {_short(key)}", f"first on line {first.line}")
            return None
        self.keys[(*path, key)] = _place(event)
        return key

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if event.style:  # quoted or block; libyaml says "" and PyYAML None for a plain scalar
            return text
        if text in ("", "~", "null"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if not _FLOAT.match(text):
            return text
        # Python refuses to convert thousands of digits, and no recipe says infinity.
        number: int | float = int(text) if _INT.match(text) and len(text) <= 18 else float(text)
        if abs(number) >= 1e18:
            self._wrong(event, f"the number {_short(text)} is too large")
            return None
        return number

    def _mistake(self, event: Any, message: str, hint: str = "") -> Mistake:
        place = _place(event)
        line = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        return Mistake(self.file, place, message, hint, line)

    def _wrong(self, event: Any, message: str, hint: str = "") -> None:
        self.mistakes.append(self._mistake(event, message, hint))


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")

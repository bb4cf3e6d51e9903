"""YAML text to plain data with places: what is understood, what is refused, and where the caret stands."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.recipe.text import Document, Place, parse


def read(text: str | bytes) -> Document:
    return parse(text.encode() if isinstance(text, str) else text, "f.yaml")


SCALARS: list[tuple[str, Any]] = [
    # YAML 1.1 made booleans of these; `on` is even a key of ours
    ("on", "on"),
    ("off", "off"),
    ("yes", "yes"),
    ("NO", "NO"),
    ("True", "True"),
    ("true", True),
    ("false", False),
    # null has three spellings
    ("null", None),
    ("~", None),
    ("", None),
    ("NULL", "NULL"),
    # numbers, which a version must not be
    ("8.10", 8.1),
    ("1e3", 1000.0),
    ("12", 12),
    ("-3", -3),
    ("+1", 1),
    ("1.", 1.0),
    (".5", 0.5),
    # not numbers in YAML 1.2: no octal by a zero, no underscores, no base 60, no dates
    ("010", 10.0),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("2001-01-01", "2001-01-01"),
    ("8.1.RC1", "8.1.RC1"),
    ("0x1F", "0x1F"),
    (".inf", ".inf"),
    # quoted is text, always
    ('"8.10"', "8.10"),
    ("'true'", "true"),
    ('""', ""),
    ('"null"', "null"),
    # no merge keys: `<<` is a word
    ("{<<: {b: 1}}", {"<<": {"b": 1}}),
    # a block is one text
    ("|\n  8.10\n", "8.10\n"),
    (">-\n  a\n  b\n", "a b"),
]


@pytest.mark.parametrize(("written", "value"), SCALARS)
def test_scalars_are_those_of_yaml_1_2(written: str, value: Any) -> None:
    document = read(f"k: {written}\n")
    assert not document.mistakes
    assert document.data == {"k": value}
    assert type(document.data["k"]) is type(value)


def test_what_was_written_is_kept_for_numbers() -> None:
    # 8.10 is 8.1 to a machine and another version to a human
    document = read("a: 8.10\nb: [true, 1e3, x]\n")
    assert document.raw == {("a",): "8.10", ("b", 0): "true", ("b", 1): "1e3"}


def test_every_value_and_key_has_its_place() -> None:
    document = read("a: 1\nb:\n  - x: 2\n    y: [3, 4]\n")
    assert document.values[("b", 0, "x")] == Place(3, 8)
    assert document.values[("b", 0, "y", 1)] == Place(4, 12)
    assert document.keys[("b", 0, "y")] == Place(4, 5)
    assert document.keys[("b",)] == Place(2, 1)


def test_a_mistake_without_place_of_its_own_stands_at_the_next_one_above() -> None:
    document = read("a:\n  b: {c: 1}\n")
    assert document.mistake(("a", "b", "missing", "deeper"), "m").place == Place(2, 6)
    assert read("").mistake(("x",), "m").place == Place(1, 1)


REFUSED: list[tuple[str, str | bytes, str, tuple[int, int]]] = [
    # name, content, part of the message, place
    ("duplicate key", "a: 1\nb: 2\na: 3\n", "duplicate key 'a' (first on line 1)", (3, 1)),
    ("duplicate key below a list", "l:\n- {x: 1, x: 2}\n", "duplicate key 'x'", (2, 10)),
    ("tab as indentation", "a:\n\tb: 1\n", "indent with spaces, not tabs", (2, 1)),
    ("tab before a key", "a: 1\n\tb: 2\n", "indent with spaces, not tabs", (2, 1)),
    ("not UTF-8", b"a: x\nb: \xe9t\xe9\n", "not UTF-8", (2, 4)),
    # the column counts characters, not bytes
    ("not UTF-8 after others", "ä: ".encode() + b"\xff\n", "not UTF-8", (1, 4)),
    ("UTF-16", "a: 1\n".encode("utf-16"), "not UTF-8", (1, 1)),
    ("empty", "", "the file is empty", (1, 1)),
    ("only comments", "# a\n\n# b\n", "the file is empty", (1, 1)),
    ("two documents", "a: 1\n---\nb: 2\n", "a second document begins here", (2, 1)),
    ("an anchor", "a: &x 1\nb: 2\n", "anchors and aliases are not allowed", (1, 4)),
    ("an anchor on a list", "a: &x [1]\n", "anchors and aliases are not allowed", (1, 4)),
    ("an anchor on a key", "&k a: 1\n", "anchors and aliases are not allowed", (1, 1)),
    ("an alias of nothing", "a: *b\n", "anchors and aliases are not allowed", (1, 4)),
    ("a tag that makes objects", "a: !!python/object:os.system x\n", "tags such as '!!python/object", (1, 4)),
    ("the same, quoted", 'a: !!python/name:os.system ""\n', "tags such as", (1, 4)),
    ("a tag on a mapping", "a: !!python/dict {x: 1}\n", "tags such as", (1, 4)),
    ("a tag on a list", "a: !!set [x]\n", "tags such as '!!set'", (1, 4)),
    ("a tag on a key", "!!int 1: x\n", "tags such as '!!int'", (1, 1)),
    # !!str 8.10 would be a way around quoting that editors do not show
    ("a tag that is harmless", "a: !!str 8.10\n", "tags such as '!!str'", (1, 4)),
    ("a key that is a list", "? [a]\n: 1\nb: 2\n", "a key must be a plain word", (1, 3)),
    ("a key that is a mapping", "{a: 1}: 2\n", "a key must be a plain word", (1, 1)),
    ("NUL", b"a: 1\nb: x\0y\n", "the control character U+0000", (2, 5)),
    ("escape", b"a: \x1b[31m\n", "the control character U+001B", (1, 4)),
    # YAML takes these for line ends, editors do not: places would be off by lines
    ("next line", "a: x\u0085y\n", "the control character U+0085", (1, 5)),
    ("line separator", "a: x\u2028y\n", "the control character U+2028", (1, 5)),
    ("lone carriage return", "a: 1\rb: 2\n", "the control character U+000D", (1, 5)),
    ("a lone surrogate, escaped", 'a: "\\ud800"\n', "not YAML", (1, 7)),
    ("an integer of 5000 digits", f"a: {'9' * 5000}\n", "is too large", (1, 4)),
    ("a number beyond floats", "a: 1e999\n", "is too large", (1, 4)),
    ("an unclosed list", "a: [1, 2\n", "not YAML", (2, 1)),
    ("an unclosed quote", "a: 'x\n", "not YAML", (2, 1)),
    ("a colon inside", "a: b: c\n", "not YAML", (1, 5)),
    ("10 000 open lists", "a: " + "[" * 10_000, "nested more than 40 levels", (1, 44)),
    ("10 000 lists", "a: " + "[" * 10_000 + "]" * 10_000, "nested more than 40 levels", (1, 44)),
    ("500 000 lists", "[" * 500_000, "nested more than 40 levels", (1, 42)),
    ("5 000 mappings", "{a: " * 5_000 + "1" + "}" * 5_000, "nested more than 40 levels", (1, 165)),
    ("10 000 dashes", "- " * 10_000 + "1", "nested more than 40 levels", (1, 83)),
    ("nested in a key", "? " + "[" * 10_000 + "\n", "nested more than 40 levels", (1, 43)),
    ("2 MB", "a: " + "x" * 2_000_000, "a recipe has at most 1000000", (1, 1)),
]


@pytest.mark.parametrize(("content", "message", "place"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused_with_place(content: str | bytes, message: str, place: tuple[int, int]) -> None:
    began = time.perf_counter()
    document = read(content)
    assert time.perf_counter() - began < 1, "a hostile file must not take long"
    shown = [mistake.render() for mistake in document.mistakes]
    assert message in shown[0]
    assert document.mistakes[0].place == Place(*place)
    assert all(len(line) < 400 for text in shown for line in text.split("\n")), "a message stays readable"


def test_billion_laughs_is_refused_before_it_grows() -> None:
    lines = ["a: &a [lol]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    document = read("\n".join(lines))
    # one mistake for each anchor, not one for each of its uses
    assert len(document.mistakes) == 9
    assert {mistake.place.line for mistake in document.mistakes} == set(range(1, 10))


def test_all_mistakes_of_one_file_are_reported() -> None:
    document = read("a: 1\na: 2\nb: &x 1\nc: !t 1\n? [k]\n: 1\nd: 1e999\n")
    assert [mistake.place.line for mistake in document.mistakes] == [2, 3, 4, 5, 7]


def test_what_is_left_out_does_not_hide_the_rest() -> None:
    document = read("a: {x: 1}\na: {y: [2]}\nb: 3\n")
    assert document.data == {"a": {"x": 1}, "b": 3}


ACCEPTED: list[tuple[str, str | bytes, Any]] = [
    ("a byte order mark", b"\xef\xbb\xbfa: 1\n", {"a": 1}),
    ("CRLF", b"a: 1\r\nb: x\r\n", {"a": 1, "b": "x"}),
    ("no newline at the end", "a: 1", {"a": 1}),
    ("comments between", "# c\na: 1 # d\n# e\n", {"a": 1}),
    ("a document's marks", "---\na: 1\n...\n", {"a": 1}),
    ("40 levels", "[" * 40 + "]" * 40, None),
    ("nothing after the mark", "---\n", None),
    ("a scalar", "foo\n", "foo"),
    ("characters outside of the first plane", "a: 😀\n", {"a": "😀"}),
    ("an empty key", "? \n: 1\n", {"": 1}),
]


@pytest.mark.parametrize(("content", "data"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(content: str | bytes, data: Any) -> None:
    document = read(content)
    assert document.mistakes == ()
    if data is not None:
        assert document.data == data


CARETS: list[tuple[str, str, str]] = [
    # name, text whose first mistake is a duplicate `k`, and the character the caret is under
    ("plain", "k: 1\nk: 2\n", "k"),
    ("indented", "m:\n    k: 1\n    k: 2\n", "k"),
    ("behind wide characters", "{竞品: 1, k: 1, k: 2}\n", "k"),
    ("behind a tab", 'm: {k: 1,\t"x": 1, k: 2}\n', "k"),
    ("far out", "{a: " + "x" * 3000 + ", k: 1, k: 2, b: " + "y" * 3000 + "}\n", "k"),
    ("CRLF", "k: 1\r\nk: 2\r\n", "k"),
]


@pytest.mark.parametrize(("text", "under"), [row[1:] for row in CARETS], ids=[row[0] for row in CARETS])
def test_the_caret_is_under_the_place(text: str, under: str) -> None:
    first, shown, caret = read(text).mistakes[0].render().split("\n")
    assert first.startswith("f.yaml:")
    cells = ""
    for char in shown:
        # a wide character takes two cells of a terminal
        cells += char if ord(char) < 0x1100 else char + " "
    assert cells[caret.index("^")] == under
    assert len(shown) <= 104
    assert "\r" not in shown


def test_a_combining_character_takes_no_cell() -> None:
    first = read("{e\u0301: 1, k: 1, k: 2}\n").mistakes[0].render().split("\n")
    assert first[2].index("^") == first[1].replace("\u0301", "").rindex("k")


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(content: bytes) -> None:
    document = read(content)
    assert document.data is None or not document.mistakes or document.mistakes[0].render()


@given(st.text(alphabet="ab:-[]{},&*!|>'\"#%@? \n\t0.~", max_size=80))
def test_no_text_makes_it_raise(text: str) -> None:
    document = read(text)
    lines = text.count("\n") + 1
    for mistake in document.mistakes:
        assert 1 <= mistake.place.line <= lines + 1
        assert mistake.place.column >= 1
        mistake.render()
    for path, place in document.values.items():
        assert 1 <= place.line <= lines + 1, path

"""Byte code files: how they are tied to their source, and which are found out."""

from __future__ import annotations

import py_compile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str], ModuleType]
MODES = py_compile.PycInvalidationMode


def compiled(folder: Path, mode: MODES, text: str = "x = 1\n") -> Path:
    source = folder / "part.py"
    source.write_text(text, encoding="utf-8")
    return Path(py_compile.compile(str(source), invalidation_mode=mode, doraise=True) or "")


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (MODES.UNCHECKED_HASH, []),
        (MODES.CHECKED_HASH, ["by hash, checked"]),
        (MODES.TIMESTAMP, ["by time stamp"]),
    ],
)
def test_only_unchecked_hashes_are_the_same_in_every_build(
    load: Load, tmp_path: Path, mode: MODES, said: list[str]
) -> None:
    target = compiled(tmp_path, mode)
    found = list(load("_bytecode").complaints(str(tmp_path)))
    assert found == [(str(target), why) for why in said]


def test_byte_code_of_another_source_is_found(load: Load, tmp_path: Path) -> None:
    target = compiled(tmp_path, MODES.UNCHECKED_HASH)
    (tmp_path / "part.py").write_text("x = 2\n", encoding="utf-8")
    assert list(load("_bytecode").complaints(str(tmp_path))) == [(str(target), "of another source")]


def test_sources_that_are_compiled_at_every_start(load: Load, tmp_path: Path) -> None:
    found = load("_bytecode").uncompiled
    target = compiled(tmp_path, MODES.CHECKED_HASH)
    assert list(found(str(tmp_path))) == []
    source = tmp_path / "part.py"
    source.write_text("x = 2\n", encoding="utf-8")
    assert list(found(str(tmp_path))) == [(str(source), "its byte code is not its own")]
    compiled(tmp_path, MODES.TIMESTAMP)
    assert list(found(str(tmp_path))) == [(str(source), "its byte code is not its own")]
    target.unlink()
    assert list(found(str(tmp_path))) == [(str(source), "no byte code")]
    # a template, a source for another Python, a link to nothing: nobody could compile them
    source.write_text("class {{ name }}: pass", encoding="utf-8")
    (tmp_path / "old.py").write_text("print 'two'", encoding="utf-8")
    (tmp_path / "null.py").write_bytes(b"x = 1\0")
    (tmp_path / "gone.py").symlink_to("nothing")
    assert list(found(str(tmp_path))) == []


def test_byte_code_without_a_source_is_found(load: Load, tmp_path: Path) -> None:
    compiled(tmp_path, MODES.UNCHECKED_HASH)
    (tmp_path / "part.py").unlink()
    ((_, why),) = load("_bytecode").complaints(str(tmp_path))
    assert "without a source" in why


@pytest.mark.parametrize(
    ("damage", "why"),
    [(lambda data: data[:7], "truncated"), (lambda data: b"\0\0\r\n" + data[4:], "of another Python")],
)
def test_damaged_byte_code_is_found(load: Load, tmp_path: Path, damage: Callable[[bytes], bytes], why: str) -> None:
    target = compiled(tmp_path, MODES.UNCHECKED_HASH)
    target.write_bytes(damage(target.read_bytes()))
    assert list(load("_bytecode").complaints(str(tmp_path))) == [(str(target), why)]

"""The script that lists the files of each layer, and what is made of its answer."""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder import footprint
from builder.engine.process import Result
from builder.footprint.measure import inside_command, list_layers


@pytest.fixture(scope="module")
def names() -> Callable[[str], Iterator[str]]:
    script = runpy.run_path(str(Path(str(footprint.__file__)).parent / "inside/names.py"), run_name="names")
    found: Callable[[str], Iterator[str]] = script["names"]
    return found


def test_only_what_has_a_content(names: Callable[[str], Iterator[str]], tmp_path: Path) -> None:
    (tmp_path / "a/deep").mkdir(parents=True)
    (tmp_path / "a/deep/file").write_text("1")
    (tmp_path / "a/empty").write_text("")
    (tmp_path / "link").symlink_to("a/deep/file")
    (tmp_path / "folder").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/\xff"))).write_text("1")
    found = sorted(names(str(tmp_path)))
    assert found == ["a/deep/file", "a/\ufffd"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("reply", "layers"),
    [
        (Result(0, b'[["a"], []]'), (("a",), ())),
        (Result(0, b"[[], []]"), ()),
        (Result(0, b'[["a"]]'), ()),
        (Result(0, b'[["a"], [1]]'), ()),
        (Result(0, b"rubbish"), ()),
        (Result(1, b'[["a"], []]'), ()),
    ],
)
def test_what_an_image_answers_is_only_data(reply: Result, layers: tuple[tuple[str, ...], ...]) -> None:
    asked = []

    def run(argv: tuple[str, ...], text: bytes) -> Result:
        asked.append(argv)
        assert text.startswith(b'"""Prints the files of each layer')
        return reply

    assert list_layers("sha256:1", ["/l/0", "/l/1"], run) == layers
    assert asked == [inside_command("sha256:1", ["/l/0", "/l/1"])]


def test_an_engine_that_does_not_say_where_layers_are_is_not_asked() -> None:
    def run(_argv: tuple[str, ...], _text: bytes) -> Result:
        raise AssertionError("a container was started")

    assert list_layers("sha256:1", [], run) == ()

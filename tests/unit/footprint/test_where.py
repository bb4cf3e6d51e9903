"""The script that says which layers have a path, and what is made of its answer."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from builder import footprint
from builder.engine.process import Result
from builder.footprint.measure import find_layers, inside_command


@pytest.fixture(scope="module")
def holds() -> Callable[[str], bool]:
    script = runpy.run_path(str(Path(str(footprint.__file__)).parent / "inside/where.py"), run_name="where")
    found: Callable[[str], bool] = script["holds"]
    return found


def test_what_a_layer_has(holds: Callable[[str], bool], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a/dangling").symlink_to("nowhere")
    assert holds(str(tmp_path / "a/file"))
    assert holds(str(tmp_path / "a/dangling"))
    assert holds(str(tmp_path / "link"))
    # A link in the way leads anywhere, and the path that was asked about is one without links.
    assert not holds(str(tmp_path / "link/file"))
    assert not holds(str(tmp_path / "b"))
    assert holds("/dev/null"), "a device of other numbers is none that says that a path was removed"


@pytest.mark.parametrize(
    ("reply", "layers"),
    [
        (Result(0, b'{"/a": [0, 2]}'), {"/a": (0, 2)}),
        (Result(0, b'{"/a": [0, 7, -1]}'), {"/a": (0,)}),
        (Result(0, b"{}"), {"/a": ()}),
        (Result(0, b"rubbish"), {}),
        (Result(0, b'{"/a": "x"}'), {}),
        (Result(1, b'{"/a": [0]}'), {}),
    ],
)
def test_what_an_image_answers_is_only_data(reply: Result, layers: dict[str, tuple[int, ...]]) -> None:
    asked = []

    def run(argv: tuple[str, ...], text: bytes) -> Result:
        asked.append(argv)
        assert text.startswith(b'"""Prints which layers')
        return reply

    assert find_layers("sha256:1", ["/l/0", "/l/1", "/l/2"], ["/a"], run) == layers
    assert asked == [inside_command("sha256:1", ["/l/0", "/l/1", "/l/2"], "/a")]
    assert asked[0][-3:] == ("-", "3", "/a")

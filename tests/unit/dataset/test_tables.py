"""Tables: read in blocks of any size, and what is wrong with one that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.dataset.tables import Row, SampleData, TableError, read_rows

ROWS = [{"token": f"{n:032x}", "translation": [n, 0.5], "text": "a } , { b", "empty": ""} for n in range(40)]


def tokens(path: Path, block: int) -> list[str]:
    return [row.token for rows in read_rows(path, Row, block=block) for row in rows]


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("block", [130, 1000, 1 << 20])
def test_blocks_of_every_size_give_the_same_rows(tmp_path: Path, indent: int | None, block: int) -> None:
    path = tmp_path / "sample.json"
    path.write_text(" \n" + json.dumps(ROWS, indent=indent) + "\n")
    assert tokens(path, block) == [row["token"] for row in ROWS]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"token": st.text(alphabet='a, \\"[]{}:é\n', max_size=8)},
            optional={"more": st.lists(st.integers(), max_size=3), "flag": st.booleans()},
        ),
        max_size=30,
    ),
    block=st.integers(min_value=256, max_value=900),
    indent=st.sampled_from([None, 0, 1]),
)
def test_any_flat_table_survives_its_cuts(tmp_path: Path, rows: list[dict[str, Any]], block: int, indent: Any) -> None:
    path = tmp_path / "any.json"
    path.write_text(json.dumps(rows, indent=indent))
    assert tokens(path, block) == [row["token"] for row in rows]


@pytest.mark.parametrize("block", [256, 1 << 20])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:-40], "is cut off after"),
        (lambda text: "", "is empty"),
        (lambda text: text.replace(":", ";", 1), "is no valid JSON"),
        (lambda text: text.replace('"token"', '"tokne"', 1), "missing required field `token`"),
        (lambda text: "{}", "Expected `array`"),
        (lambda text: text + "]", "is no valid JSON"),
    ],
)
def test_a_damaged_table_says_how(tmp_path: Path, block: int, damage: Any, said: str) -> None:
    path = tmp_path / "sample.json"
    path.write_text(damage(json.dumps(ROWS, indent=0)))
    with pytest.raises(TableError, match=said):
        tokens(path, block)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "sample.json"
    path.write_bytes(b'[{"token": "\xff\xfe"}]')
    with pytest.raises(TableError):
        tokens(path, 1 << 20)


def test_wanted_columns_only(tmp_path: Path) -> None:
    path = tmp_path / "sample_data.json"
    names = ("token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "filename")
    row = {**dict.fromkeys(names, "x"), "is_key_frame": True, "width": 1600, "fileformat": "jpg", "unknown": [1]}
    path.write_text(json.dumps([row]))
    (rows,) = read_rows(path, SampleData)
    assert rows[0].filename == "x"
    assert not hasattr(rows[0], "width")

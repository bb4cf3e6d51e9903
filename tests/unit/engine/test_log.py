"""The files that logs of builds are."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from builder.engine.log import begun_log
from builder.errors import BuildError


def test_builds_of_one_second_have_logs_of_their_own_in_their_order(tmp_path: Path) -> None:
    for start in (0.2, 0.4, 0.9, 1.1):
        with closing(begun_log(tmp_path, start)) as log:
            log.text(str(start))
    paths = sorted(tmp_path.iterdir())
    assert [path.read_text() for path in paths] == ["# 0.2\n", "# 0.4\n", "# 0.9\n", "# 1.1\n"]
    assert paths[0].name == "19700101T000000Z.log"


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="No such file or directory"):
        begun_log(tmp_path / "gone", 0.0)

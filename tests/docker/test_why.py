"""`why` between two real builds of a shipped recipe's stage: said before, done after, and equal in the record."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from support.cli import drivebuild

from builder import paths
from builder.engine.host import Engine
from builder.engine.process import SystemRunner
from builder.engine.record import read_record

pytestmark = pytest.mark.docker
STAGE = ("streampetr", "--platform", "debian-12-cpu", "--until", "tools")


def test_a_line_of_a_script(engine: Engine, tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(paths.TEMPLATES, tmp_path / "templates")
    monkeypatch.setattr(paths, "TEMPLATES", tmp_path / "templates")
    why = ("why", *STAGE, "--tag", tag)
    image = ("image", *STAGE, "--tag", tag, "--progress", "json")
    assert drivebuild(*image).exit_code == 0
    assert drivebuild(*why).output.endswith("nothing changed\n")
    script = tmp_path / "templates/scripts/strict_apply.py"
    # A text that no builder's cache has: pytest's folders have the same names again once they were removed.
    script.write_text(script.read_text() + f"\n# {tmp_path} {time.time()}\n")
    answer = json.loads(drivebuild(*why, "--json").output)
    assert [change["text"] for change in answer["changes"]] == [
        "templates/scripts/strict_apply.py, in stage tools: +2 −0 lines"
    ]
    assert [(stage["stage"], stage["runs"]) for stage in answer["stages"]] == [("tools", True)]
    assert answer["engine_asked"] is True
    built = drivebuild(*image)
    assert json.loads(built.output.splitlines()[0]) == {"event": "forecast", "stages": ["tools"]}
    record = read_record(tag)
    assert record is not None
    assert (record.predicted, record.executed, record.differences) == (("tools",), ("tools",), ())
    assert drivebuild(*why).output.endswith("nothing changed\n")
    SystemRunner().run(("docker", "image", "rm", "--force", tag))
    gone = drivebuild(*why).output
    assert "the engine no longer has the image" in gone
    assert gone.endswith("nothing changed\n")

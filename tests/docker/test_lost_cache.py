"""An engine that has lost a layer of its build cache: the stage of it runs again, nothing else, and nobody is asked.

How it loses one: two records of the cache with equal content share a layer; after a restart the engine collects one of
them, and the other's layer goes with it (builder/engine/mend.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine import stage, toy_plan
from support.ownengine import OwnEngine, needs_dockerd, own_engine

from builder.engine.build import Choices, StageFailedError, build
from builder.engine.host import connect
from builder.engine.mend import LOST_OF_CACHE
from builder.engine.process import SystemRunner
from builder.engine.record import BuildRecord

pytestmark = pytest.mark.docker
BASE = "drivebuild-test-tiny:1"
TAG = "drivebuild-test/lost:1"
# What is copied in has no time of its own: two builds make equal layers, as drivebuild's stages do.
DOCKERFILE = f"""\
FROM {BASE} AS first
COPY <<END /first
1
END
FROM first AS tools
COPY <<END /tools
2
END
FROM first AS second
COPY <<END /second
3
END
FROM second AS image
SHELL ["/bin/bash", "-c"]
RUN --network=none --mount=type=bind,from=tools,target=/mnt cat /mnt/tools > /own
"""


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OwnEngine]:
    needs_dockerd()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with own_engine(containerd_store=False, with_registry=False, bridge="dbl1") as engine:
        engine.import_tiny(BASE)
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        yield engine


def built(*, no_cache: bool = False, until: str = "") -> BuildRecord:
    plan = toy_plan(
        stage("first", BASE), stage("tools", "first"), stage("second", "first"), stage("image", "second", "tools")
    )
    choices = Choices(tag=TAG, no_cache=no_cache, until=until)
    return build(plan, DOCKERFILE, choices, runner=SystemRunner(), engine=connect())


def lose_the_layer_of(own: OwnEngine, stage: str) -> None:
    """Make two equal records of a stage, start the engine anew, and let it collect the older one."""
    for no_cache in (False, True):
        assert built(until=stage, no_cache=no_cache).outcome == "done"
    own.docker("image", "rm", TAG)
    own.docker("image", "prune", "--force")
    own.kill()
    own.start()
    said = own.docker("buildx", "du", "--verbose").stdout.decode()
    blocks = [dict(re.findall(r"^(\w[\w ]*):\s+(.*)$", block, re.MULTILINE)) for block in said.split("\n\n")]
    found = sorted(
        (each["Created at"], each["ID"]) for each in blocks if f"END /{stage}" in each.get("Description", "")
    )
    assert len(found) == 2, said
    pruned = own.docker("builder", "prune", "--all", "--force", "--filter", f"id={found[0][1]}")
    assert found[0][1] in pruned.stdout.decode(), pruned


def ran(record: BuildRecord) -> list[str]:
    return [each.name for each in record.stages if each.state == "done" and each.name != "export"]


@pytest.mark.parametrize(
    ("lost", "until", "again"),
    [
        ("tools", "", ["tools", "second", "image"]),
        ("second", "second", ["second"]),
        ("second", "", ["tools", "second", "image"]),
    ],
    ids=["a mounted stage", "the image itself", "a stage below"],
)
def test_the_stage_runs_again_and_nothing_else(own: OwnEngine, lost: str, until: str, again: list[str]) -> None:
    lose_the_layer_of(own, lost)
    record = built(until=until)
    assert record.outcome == "done"
    assert ran(record) == again
    said = Path(record.log).read_text()
    assert f"the engine has lost a layer of stage {lost}: it runs again" in said
    assert own.docker("run", "--rm", "--network", "none", TAG, "cat", "/second" if until else "/own").stdout == (
        b"3\n" if until else b"2\n"
    )
    # It is mended for good, and no image of a stage is left.
    own.kill()
    own.start()
    assert ran(built(until=until)) == []
    assert own.docker("images", "--quiet", "drivebuild/mending").stdout == b""


def test_what_no_stage_mends_is_an_error_that_says_so(own: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_the_layer_of(own, "second")
    monkeypatch.setattr("builder.engine.build.stands_on", lambda *_: ("first",))
    with pytest.raises(StageFailedError) as caught:
        built()
    assert re.search(LOST_OF_CACHE, caught.value.message)
    assert "running its stage again did not bring it back" in caught.value.hint
    assert caught.value.exit_code == 6

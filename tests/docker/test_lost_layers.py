"""Two builds at once in containerd's image store, while images go: exports lose layers there, and no build fails.

BuildKit before 0.29 finds a layer, and containerd takes it away before the next one is put upon it
(moby/buildkit#6521).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine import stage, toy_plan
from support.ownengine import OwnEngine, needs_dockerd, own_engine

from builder.engine.build import Choices, build
from builder.engine.host import connect
from builder.engine.process import SystemRunner

pytestmark = pytest.mark.docker
BASE = "drivebuild-test-tiny:1"
# Layers that both have, of few bytes and by the same names, and one of its own on top.
DOCKERFILE = f"""\
FROM {BASE} AS base
SHELL ["/bin/bash", "-c"]
RUN --network=none echo @ROUND@ > /first
RUN --network=none echo @ROUND@ > /second
FROM base AS image
RUN --network=none echo @NAME@ @ROUND@ > /own
"""
ROUNDS = 12


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OwnEngine]:
    needs_dockerd()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with own_engine(containerd_store=True, with_registry=False, bridge="dbl0") as engine:
        engine.import_tiny(BASE)
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        yield engine


def test_builds_side_by_side_do_not_fail_for_layers_that_go(own: OwnEngine) -> None:
    faults: list[Exception] = []

    plan = toy_plan(stage("base", BASE), stage("image", "base"))

    def rounds(name: str) -> None:
        engine, tag = connect(), f"drivebuild-test/lost-{name}:1"
        try:
            for number in range(ROUNDS):
                text = DOCKERFILE.replace("@NAME@", name).replace("@ROUND@", str(number // 2))
                record = build(plan, text, Choices(tag=tag), runner=SystemRunner(), engine=engine)
                assert record.outcome == "done"
                own.docker("image", "rm", tag)
        except Exception as error:  # noqa: BLE001  # whatever it is: a thread's is nobody's else
            faults.append(error)

    threads = [threading.Thread(target=rounds, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, "\n".join(map(str, faults))

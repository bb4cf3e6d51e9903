"""`build-all` where the engine is killed in mid stage, and where another machine goes on with a registry's cache."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.fleets import BASE, Fleet, built, content, states
from support.ownengine import OwnEngine, own_engine

from builder.cli.buildallend import failures
from builder.engine.host import Engine
from builder.engine.process import SystemRunner
from builder.engine.record import read_record
from builder.engine.works import ImageView, Work

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def started(engine: Engine) -> Iterator[OwnEngine]:
    """Return an engine of its own that has the base image, and a registry. The last test kills it."""
    missing = [name for name in ("dockerd", "docker-registry") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        reason = "needs root, dockerd and docker-registry (the distribution's packages)"
        if os.geteuid() == 0 and os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail(reason)
        pytest.skip(f"SKIPPED LOUDLY: {reason}")
    saved = SystemRunner().run(("docker", "save", BASE)).stdout
    with own_engine(containerd_store=True) as found:
        assert found.docker("load", stdin=saved).returncode == 0
        yield found


@pytest.fixture
def own(started: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> OwnEngine:
    """Return the engine, which is the one that commands talk to."""
    monkeypatch.setenv("DOCKER_HOST", started.address)
    return started


def test_another_machine_goes_on_with_the_registrys_cache(own: OwnEngine, tag: str) -> None:
    """The other machine is this engine with nothing but the base: of the cache it has only what the registry has."""
    fleet, place = Fleet(tag), f"{own.repository}/cache"

    def works(sleep: int, **choices: object) -> list[Work]:
        found = fleet("first", "second", leaves={"second": f"sleep {sleep}"}, offline=True, shared="true", **choices)
        return [replace(each, cache_to=(f"type=registry,ref={place}:{each.name},mode=max",)) for each in found]

    def interrupt(views: tuple[ImageView, ...]) -> None:
        busy = views[1].busy
        if views[0].state == "done" and busy is not None and busy.name == "leaf" and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    sent: list[int] = []
    assert states(built(works(60), slots=1, show=interrupt)) == {"first": "done", "second": "cancelled"}
    stamp = content(fleet.tags[0], "/shared")
    for words in (("image", "rm", "--force", *fleet.tags), ("builder", "prune", "--all", "--force")):
        own.docker(*words)
    # It only reads: what is read and written again is in test_farm.py.
    reading = [replace(each, cache_to=()) for each in works(0, cache_from=(f"type=registry,ref={place}:first",))]
    again = built(reading, slots=1)
    assert states(again) == {"first": "done", "second": "done"}, failures(again)
    # The moment at which the common stage ran: on the machine before, and never again.
    assert {content(tag, "/shared") for tag in fleet.tags[:2]} == {stamp}


# The docker SDK drops the socket of a connection that fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_is_killed_in_mid_stage(own: OwnEngine, tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was running has failed, what was waiting is not tried, and that the engine is gone is said once."""
    monkeypatch.setattr("builder.engine.many.ENGINE_WAIT", 0.0)
    works = Fleet(tag)(
        "done", "running", "waiting", "last", leaves={"running": "sleep 60"}, offline=True, shared="true"
    )

    def kill(views: tuple[ImageView, ...]) -> None:
        busy = views[1].busy
        if busy is not None and busy.name == "leaf":
            own.kill()

    outcome = built(works, slots=1, show=kill)
    # Here, where the mark holds.
    gc.collect()
    assert states(outcome) == {"done": "done", "running": "failed", "waiting": "left", "last": "left"}
    assert outcome.stopped.startswith("the engine does not answer any more: no docker engine answers")
    assert "systemctl start docker" in outcome.hint
    record = read_record(works[1].tag)
    assert record is not None
    assert record.outcome == "failed"
    first, *rest = failures(outcome)
    assert first.startswith("  running: ")
    assert rest[-1] == "  not tried: waiting, last"
    assert "Traceback" not in "".join((first, *rest))

"""`build-all` with a real BuildKit: what is shared runs once, a failure is one image's, an interrupt loses nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleets import Fleet, built, content, own_stages, states

from builder.engine.host import Engine
from builder.engine.process import SystemRunner
from builder.engine.record import read_record
from builder.engine.works import ImageView
from builder.fleet.report import make_report, summary
from builder.fleet.runs import Outcome

pytestmark = pytest.mark.docker


@pytest.fixture
def fleet(engine: Engine, tag: str) -> Iterator[Fleet]:
    """Return what makes images that share a stage; whatever they are called is removed afterwards."""
    made = Fleet(tag)
    yield made
    for each in made.tags:
        SystemRunner().run(("docker", "image", "rm", "--force", each))


def test_one_fails_and_what_is_shared_runs_once(fleet: Fleet, engine: Engine) -> None:
    works = fleet("good", "bad", "fine", leaves={"bad": "echo 'the leaf is bad' >&2; false"})
    outcome = built(works, slots=3)
    assert states(outcome) == {"good": "done", "bad": "failed", "fine": "done"}
    failed = outcome.images[1].failed
    assert failed is not None
    assert (failed.stage, failed.first) == ("leaf", "exit code: 1")
    assert "the leaf is bad" in Path(failed.log).read_text()
    assert content(works[0].tag, "/shared") == content(works[2].tag, "/shared")
    assert engine.image(works[1].tag) is None
    report = make_report(outcome, {})
    shared = next(use for use in report.stages if use.name == "shared")
    assert set(shared.images) == {"good", "bad", "fine"}
    # Each of three waited for it: the seconds are those of one run.
    each = [stage.seconds for image in outcome.images for stage in image.stages if stage.name == "shared"]
    assert max(each) <= shared.seconds < max(each) + 2
    assert report.totals.together < report.totals.apart
    again = built(works[::2])
    assert {stage.state for image in again.images for stage in own_stages(image)} == {"cached"}
    assert "stages run: none, everything was there already" in list(summary(make_report(again, {})))


def test_an_interrupt_keeps_what_is_done_and_the_next_one_goes_on(fleet: Fleet, engine: Engine) -> None:
    works = fleet("first", "second", leaves={"second": "sleep 30"}, shared="sleep 0")

    def interrupt(views: tuple[ImageView, ...]) -> None:
        busy = views[1].busy
        if views[0].state == "done" and busy is not None and busy.name == "leaf" and not sent:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)

    sent: list[float] = []
    outcome = built(works, slots=1, show=interrupt)
    assert outcome.interrupted
    assert states(outcome) == {"first": "done", "second": "cancelled"}
    assert [stage.state for stage in outcome.images[1].stages[:2]] == ["cached", "cancelled"]
    record = read_record(works[1].tag)
    assert record is not None
    assert record.outcome == "cancelled"
    assert engine.image(works[0].tag) is not None
    changed = fleet("first", "second", leaves={"second": "sleep 0"}, shared="sleep 0")
    resumed = built(changed, slots=1)
    assert states(resumed) == {"first": "done", "second": "done"}
    assert [stage.state for stage in own_stages(resumed.images[0])] == ["cached"] * 3
    assert resumed.images[1].stages[0].state == "cached"


def test_two_at_once_build_each_image_once(fleet: Fleet) -> None:
    works = fleet("one", "two", "three", leaves={"one": "sleep 2"}, shared="sleep 1")
    found: list[Outcome] = []
    waited: set[str] = set()

    def notice(views: tuple[ImageView, ...]) -> None:
        waited.update(view.name for view in views if view.state == "elsewhere")

    # Either may be the one that comes later to an image.
    other = threading.Thread(target=lambda: found.append(built(works, show=notice)))
    other.start()
    found.append(built(works, show=notice))
    other.join()
    assert [states(outcome) for outcome in found] == [dict.fromkeys(("one", "two", "three"), "done")] * 2
    assert waited
    assert len({content(work.tag, "/shared") for work in works}) == 1
    for work in works:
        record = read_record(work.tag)
        assert record is not None
        assert record.outcome == "done"


def drivebuild(*words: str) -> tuple[int, str, str]:
    result = SystemRunner().run((sys.executable, "-m", "builder", *words))
    return result.code, result.text, result.complaint


def test_the_command(engine: Engine, tmp_path: Path) -> None:
    """Two models' stage that needs nothing but the base, which all have in common."""
    words = ("build-all", "-m", "streampetr", "-m", "panoocc", "-p", "debian-12-cpu", "--variant", "stock")
    page = tmp_path / "report.html"
    try:
        code, said, complaint = drivebuild(*words, "--until", "tools", "--report", str(page))
        assert code == 0, complaint
        assert re.search(r"^streampetr debian-12-cpu-stock +done", said, re.MULTILINE)
        assert "2 images: 2 done" in said
        assert page.read_text().startswith("<!DOCTYPE html>")
        code, said, complaint = drivebuild(*words, "--until", "tools", "--json")
        assert code == 0, complaint
        last = json.loads(said.splitlines()[-1])
        assert last["event"] == "report"
        assert {image["state"] for image in last["images"]} == {"done"}
        assert last["totals"]["stages_run"] == 0
    finally:
        for model in ("streampetr", "panoocc"):
            SystemRunner().run(("docker", "image", "rm", "--force", f"drivebuild/{model}:debian-12-cpu-stock-tools"))


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("-m", "streampeter"), "did you mean 'streampetr'?", 4),
        (("-p", "debian-12-gpu"), "did you mean 'debian-12-cpu'?", 4),
        (("-m", "tpvformer", "-p", "cann-8.2.rc1"), "no lock", 4),
        (("-p", "debian-12-cpu", "--until", "evn"), "did you mean 'env'?", 2),
        (("-p", "debian-12-cpu", "--pin", f"panoc={'a' * 40}"), "did you mean 'panoocc'?", 2),
        (("-p", "debian-12-cpu", "--report", "/no/such/folder/x.html"), "no file can be made there", 2),
    ],
)
def test_words_that_cannot_be_meant(engine: Engine, words: tuple[str, ...], said: str, code: int) -> None:
    found, _, complaint = drivebuild("build-all", *words)
    assert (found, said in complaint) == (code, True), complaint

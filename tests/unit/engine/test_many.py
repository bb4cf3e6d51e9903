"""Many builds with an engine and commands that are none: what is begun, what is not, and when it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.engine.buildlock import alone_with, try_lock
from builder.engine.command import Choices
from builder.engine.host import Facts
from builder.engine.many import build_many
from builder.engine.record import read_record
from builder.engine.works import ImageView, Work
from builder.errors import BuildError
from builder.fleet.runs import Failed, Outcome

PLAN = toy_plan(stage("base"), stage("wheel", "base"), stage("image", "wheel"))
DIGESTS = {"base": "b" * 64, "wheel": "w" * 64}
OK, BAD = 0, 1


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def progress(stage: str, error: str = "") -> bytes:
    """Return what buildx says of one step that took two seconds."""
    step = {"digest": f"sha256:{stage}", "name": f"[{stage} 1/1] RUN make"}
    first = {**step, "started": "2026-11-21T10:00:00Z"}
    last = {**first, "completed": "2026-11-21T10:00:02Z", **({"error": error} if error else {})}
    return b"".join(json.dumps({"vertexes": [each]}).encode() for each in (step, first, last))


class Doors:
    """Gives each image its own answer, by its tag."""

    def __init__(self, answers: Mapping[str, tuple[bytes, int]], **engine: object) -> None:
        self.answers, self.begun = answers, list[str]()
        self.dead = False
        self.free: int | None = None
        self.before: Callable[[str], None] = lambda _tag: None

    def runner(self, stop: threading.Event) -> RecordingRunner:
        return _Runner(self, stop)

    def engine(self) -> FakeEngine:
        if self.dead:
            raise BuildError("no docker engine answers at unix:///gone", hint="start it")
        return _Engine(self.free)


class _Engine(FakeEngine):
    def __init__(self, free: int | None) -> None:
        super().__init__({})
        self._free = free

    def facts(self) -> Facts:
        return _Facts(version="26", architecture="x86_64", root=str(self._free))


class _Facts(Facts):
    def free_bytes(self) -> int | None:
        return None if self.root == "None" else int(self.root)


class _Runner(RecordingRunner):
    def __init__(self, doors: Doors, stop: threading.Event) -> None:
        super().__init__()
        self._doors, self._stop = doors, stop

    def stream(self, argv: tuple[str, ...], feed: Callable[[bytes], None], **words: object) -> int:
        tag = argv[argv.index("--tag") + 1]
        self._doors.begun.append(tag)
        self._doors.before(tag)
        if self._stop.is_set():
            raise KeyboardInterrupt
        self.output, self.code = self._doors.answers[tag]
        return super().stream(argv, feed, **words)  # type: ignore[arg-type]


def work(name: str, **digests: str) -> Work:
    return Work(
        name=name, plan=PLAN, dockerfile="FROM scratch\n", choices=Choices(tag=name), digests={**DIGESTS, **digests}
    )


def built(works: list[Work], doors: Doors, slots: int = 1) -> Outcome:
    seen: list[ImageView] = []
    return build_many(
        works,
        [each.name for each in works],
        slots=slots,
        doors=doors,  # type: ignore[arg-type]
        show=lambda views, _now: seen.extend(views),
    )


def states(outcome: Outcome) -> dict[str, str]:
    return {image.name: image.state for image in outcome.images}


def test_one_fails_and_the_others_are_built() -> None:
    bad = (progress("image", "did not complete successfully: exit code: 1"), BAD)
    doors = Doors({"a": (progress("image"), OK), "b": bad, "c": (progress("image"), OK)})
    outcome = built([work("a"), work("b", image="i" * 64), work("c")], doors)
    assert states(outcome) == {"a": "done", "b": "failed", "c": "done"}
    failed = outcome.images[1].failed
    assert failed is not None
    assert (failed.stage, failed.first) == ("image", "exit code: 1")
    assert Path(failed.log).is_file()
    record = read_record("b")
    assert record is not None
    assert record.outcome == "failed"
    assert not outcome.interrupted


def test_what_needs_a_stage_that_failed_is_not_tried() -> None:
    """The same text over the same inputs would fail again, after as many minutes."""
    bad = (progress("wheel", "exit code: 2"), BAD)
    doors = Doors({"a": bad, "b": bad, "c": (progress("image"), OK)})
    outcome = built([work("a"), work("b"), work("c", wheel="x" * 64)], doors)
    assert states(outcome) == {"a": "failed", "b": "left", "c": "done"}
    assert doors.begun == ["a", "c"]
    assert outcome.images[1].failed == Failed(stage="wheel", first="it needs the very stage 'wheel' that failed for a")


@pytest.mark.parametrize(
    "said", ["rpc error: code = Unavailable desc = error reading from server: EOF", "connection reset"]
)
def test_a_builder_that_was_lost_is_not_the_stages_fault(said: str) -> None:
    doors = Doors({"a": (progress("wheel", said), BAD), "b": (progress("image"), OK)})
    assert states(built([work("a"), work("b")], doors)) == {"a": "failed", "b": "done"}


def test_a_dead_engine_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.many.ENGINE_WAIT", 0.0)
    doors = Doors({"a": (b"ERROR: error reading from server: EOF\n", BAD)})

    def dies(_tag: str) -> None:
        doors.dead = True

    doors.before = dies
    outcome = built([work("a"), work("b"), work("c")], doors)
    assert states(outcome) == {"a": "failed", "b": "left", "c": "left"}
    assert outcome.stopped == "the engine does not answer any more: no docker engine answers at unix:///gone"
    assert doors.begun == ["a"]


def test_a_full_disk_ends_it_and_one_that_has_room_again_does_not() -> None:
    full = (progress("wheel", "write /x: no space left on device"), BAD)
    doors = Doors({"a": full, "b": (progress("image"), OK)})
    doors.free = 10_000_000
    outcome = built([work("a"), work("b")], doors)
    assert states(outcome) == {"a": "failed", "b": "left"}
    assert outcome.stopped == "the engine's disk is full (10 MB free)"
    doors.free = 10**10
    assert states(built([work("a"), work("b")], doors)) == {"a": "failed", "b": "done"}


def test_an_image_that_cannot_be_begun() -> None:
    doors = Doors({"b": (progress("image"), OK)})
    broken = Work(name="a", plan=PLAN, choices=Choices(tag="a"), broken=Failed(first="the store lacks it", code=5))
    outcome = built([broken, work("b")], doors)
    assert states(outcome) == {"a": "failed", "b": "done"}
    assert outcome.images[0].began == 0.0


def test_an_interrupt_ends_all_and_says_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    doors = Doors({"a": (progress("image"), OK)})

    def interrupted(tag: str) -> None:
        if tag == "b":
            import signal

            signal.raise_signal(signal.SIGTERM)
            stopped.wait(10)

    # The signal is the main thread's; the worker waits until it was noted.
    stopped = threading.Event()
    runner = doors.runner

    def noting(stop: threading.Event) -> RecordingRunner:
        threading.Thread(target=lambda: (stop.wait(10), stopped.set()), daemon=True).start()
        return runner(stop)

    doors.before = interrupted
    monkeypatch.setattr(doors, "runner", noting)
    outcome = built([work("a"), work("b"), work("c")], doors)
    assert outcome.interrupted
    assert states(outcome) == {"a": "done", "b": "cancelled", "c": "cancelled"}
    assert doors.begun == ["a", "b"]
    record = read_record("b")
    assert record is not None
    assert record.outcome == "cancelled"


def test_an_image_that_another_is_at_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.many.AGAIN", 0.0)
    doors = Doors({"a": (progress("image"), OK), "b": (progress("image"), OK)})
    held = try_lock("a")
    assert held is not None
    doors.before = lambda tag: held.release() if tag == "b" else None
    assert states(built([work("a"), work("b")], doors)) == {"a": "done", "b": "done"}
    assert doors.begun == ["b", "a"]


def test_the_lock_says_that_it_waits() -> None:
    said: list[str] = []
    held = try_lock("a")
    assert held is not None
    assert try_lock("a") is None

    def waiting() -> None:
        said.append("waiting")
        held.release()

    with alone_with("a", waiting):
        assert try_lock("a") is None
    assert said == ["waiting"]
    with alone_with("a", waiting):
        pass
    assert said == ["waiting"]


def test_what_nobody_foresaw_ends_the_other_builds_too() -> None:
    doors = Doors({"a": (progress("image"), OK)})

    def wrong(_tag: str) -> None:
        raise ZeroDivisionError

    doors.before = wrong
    with pytest.raises(ZeroDivisionError):
        built([work("a"), work("b")], doors)


def test_a_stage_is_at_work_in_the_engines_time() -> None:
    outcome = built([work("a")], Doors({"a": (progress("wheel"), OK)}))
    (wheel,) = [each for each in outcome.images[0].stages if each.name == "wheel"]
    assert wheel.digest == "w" * 64
    assert wheel.seconds == 2.0

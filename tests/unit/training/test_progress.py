"""Where a training is while it runs, and how that is said."""

from __future__ import annotations

import msgspec
import pytest
from support.training import step_line

from builder.cli.jobview import describe, harmless, human_duration
from builder.recipe.types import Catalog
from builder.training.progress import Progress, Reading


def test_where_a_training_is(catalog: Catalog) -> None:
    progress = Progress(catalog.models["streampetr"], epochs=24, published=0.615)
    assert progress.reading() == Reading(epochs=24)
    for number, now in ((50, 100.0), (100, 140.0), (150, 180.0)):
        progress.feed(f"{step_line('streampetr', 1, number, seconds=0.8, loss=7.5)}\n".encode(), now)
    reading = progress.reading()
    assert (reading.step, reading.loss, reading.step_seconds) == (150, 7.5, 0.8)
    assert reading.against == pytest.approx(0.30, abs=0.01)
    assert reading.of is not None
    # 50 steps in 40 seconds.
    assert reading.left == pytest.approx((reading.of - 150) * 0.8)
    text = describe(reading)
    for part in ("step 150/", "loss 7.5", "0.8 s a step (published 0.615 s, +30 %)", " left"):
        assert part in text


def test_epochs_of_a_log_that_counts_them(catalog: Catalog) -> None:
    progress = Progress(catalog.models["panoocc"], epochs=24)
    for number, now in ((50, 0.0), (100, 100.0)):
        progress.feed(f"{step_line('panoocc', 3, number)}\n".encode(), now)
    reading = progress.reading()
    assert (reading.epoch, reading.of) == (3, 3516)
    assert reading.left == pytest.approx((22 * 3516 - 100) * 2.0)
    assert describe(reading).startswith("epoch 3/24, step 100/3516, 1 d 18 h")


def test_a_run_that_begins_anew_has_a_pace_of_its_own(catalog: Catalog) -> None:
    progress = Progress(catalog.models["panoocc"], epochs=24)
    for epoch, number, now in ((3, 50, 0.0), (3, 100, 100.0), (1, 50, 200.0)):
        progress.feed(f"{step_line('panoocc', epoch, number)}\n".encode(), now)
    reading = progress.reading()
    assert reading.epoch == 1
    assert reading.left is not None
    # By the step time of its one line, not by steps that went back.
    assert reading.left == pytest.approx((24 * 3516 - 50) * 1.849)


def test_trouble_and_metrics(catalog: Catalog) -> None:
    progress = Progress(catalog.models["streampetr"])
    progress.feed(b"RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\nmAP: 0.4803\nNDS: 0.5712\n", 0.0)
    reading = progress.reading()
    assert "out of memory" in reading.trouble
    assert dict(reading.metrics) == {"mAP": "0.4803", "NDS": "0.5712"}


def test_a_model_without_a_known_log(catalog: Catalog) -> None:
    progress = Progress(msgspec.structs.replace(catalog.models["streampetr"], log=None))
    assert progress.feed(b"anything\n", 0.0) is False
    assert describe(progress.reading()) == ""


def test_hostile_pieces(catalog: Catalog) -> None:
    progress = Progress(catalog.models["streampetr"])
    for piece in (
        b"\xff" * 70000,
        b"Iter [" * 20000,
        b" - INFO - Iter [99999999999999999999/0]\tloss: nan, time: -1\n",
    ):
        progress.feed(piece, 0.0)
    describe(progress.reading())
    assert harmless(b"a\x1b[2Jb\xc2\x9bc\n") == b"a?[2Jb?c\n"


@pytest.mark.parametrize(("seconds", "text"), [(5.0, "5.0 s"), (3601, "1 h 0 min"), (176400, "2 d 1 h 0 min")])
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text

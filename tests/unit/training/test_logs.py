"""Logs of the five models, fed whole, in pieces, torn and hostile."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict
from support.training import METRICS, json_log, step_line, training

from builder.recipe.types import Catalog, TrainingLog
from builder.source.catalog import read_catalog
from builder.training.logs import CAP, LogParser
from builder.training.records import Failure, Metric, Record, Step

MODELS = ("panoocc", "flashocc", "tpvformer", "pivotnet", "streampetr")
CATALOG = read_catalog()


def log_of(model: str, catalog: Catalog = CATALOG) -> TrainingLog:
    found = catalog.models[model].log
    assert found is not None
    return found


def read(
    model: str, data: str | bytes, size: int = 1 << 20, *, structured: bool = False
) -> tuple[list[Record], LogParser]:
    if isinstance(data, str):
        data = data.encode()
    parser = LogParser(log_of(model), structured=structured)
    found: list[Record] = []
    for start in range(0, len(data), size):
        found += parser.feed(data[start : start + size])
    return found + parser.close(), parser


def steps(records: list[Record]) -> list[Step]:
    return [record for record in records if isinstance(record, Step)]


def metrics(records: list[Record]) -> dict[str, float]:
    return {record.name: pytest.approx(record.value) for record in records if isinstance(record, Metric)}


def failures(records: list[Record]) -> list[tuple[str, str]]:
    return [(record.kind, record.line) for record in records if isinstance(record, Failure)]


# --- what each model prints ----------------------------------------------------------------------


def test_panoocc() -> None:
    line = (
        "2025-09-18 10:01:02,345 - mmdet - INFO - Epoch [1][50/3516]\tlr: 6.933e-05, eta: 1 day, 12:32:12, "
        "time: 1.849, data_time: 0.056, memory: 30280, loss_cls: 0.9203, loss: 13.6460, grad_norm: 35.1\n"
    )
    (step,), parser = read("panoocc", line)
    assert asdict(step) == {
        "run": 0,
        "epoch": 1,
        "step": 50,
        "of": 3516,
        "seconds": 1.849,
        "loss": 13.646,
        "rate": 6.933e-05,
        "memory": 30280.0,
        "data_seconds": 0.056,
        "stamp": None,
        "others": {"loss_cls": 0.9203, "grad_norm": 35.1},
    }
    assert parser.torn == 0


def test_streampetr_has_no_data_time_and_no_epoch() -> None:
    line = (
        "2025-03-21 10:00:00,000 - mmdet - INFO - Iter [50/1758]\tlr: 1.440e-04, eta: 0:17:29, time: 0.615, "
        "memory: 20123, loss: 9.8765, grad_norm: 30.1\n"
    )
    (step,), _ = read("streampetr", line)
    assert (step.epoch, step.step, step.of, step.seconds, step.data_seconds) == (None, 50, 1758, 0.615, None)


def test_tpvformer_counts_epochs_from_0_and_brackets_follow_the_time() -> None:
    line = (
        "2025-04-21 06:54:21,123 - mmseg - INFO - [TRAIN] Epoch 0 Iter    50/3517: Loss: 2.345, grad_norm: 12.3, "
        "lr: 0.0000290, time: 1.195 (0.012)\n"
    )
    (step,), _ = read("tpvformer", line)
    assert (step.epoch, step.step, step.of, step.seconds, step.loss, step.rate) == (1, 50, 3517, 1.195, 2.345, 2.9e-05)


def test_pivotnet_takes_the_time_from_stamps_over_a_minute() -> None:
    lines = [step_line("pivotnet", 1, step) for step in range(10, 401, 10)]
    found, _ = read("pivotnet", "\n".join(lines))
    got = steps(found)
    assert got[0].seconds is None
    assert (got[0].epoch, got[0].step, got[0].of) == (1, 10, 3516)
    late = [step.seconds for step in got if step.step > 90]
    assert all(seconds == pytest.approx(0.89, rel=0.02) for seconds in late), late


def test_pivotnet_does_not_count_what_lies_between_epochs() -> None:
    lines = [
        "[Rank #0] | 2025-04-25 at 10:00:00 | INFO | e:0[3510/3516] lr=0.000200 loss=2.0",
        "[Rank #0] | 2025-04-25 at 10:30:00 | INFO | e:1[10/3516] lr=0.000200 loss=2.0",
        "[Rank #0] | 2025-04-25 at 10:30:09 | INFO | e:1[20/3516] lr=0.000200 loss=2.0",
        "[Rank #0] | 2025-04-25 at 09:30:19 | INFO | e:1[30/3516] lr=0.000200 loss=2.0",
    ]
    found, _ = read("pivotnet", "\n".join(lines))
    assert [step.seconds for step in steps(found)] == [None, None, 0.9, None]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("panoocc", {"mIoU": 0.6838, "mAP": 0.3988, "NDS": 0.4810}),
        ("flashocc", {"mIoU": 31.79}),
        ("tpvformer", {"mIoU": 68.661}),
        ("pivotnet", {"mAP@HARD": 0.438, "mAP@EASY": 0.619}),
        ("streampetr", {"mAP": 0.4803, "NDS": 0.5712}),
    ],
)
def test_metrics_in_the_unit_of_the_published_rows(model: str, expected: dict[str, float]) -> None:
    found, _ = read(model, "\n".join(METRICS[model]))
    assert metrics(found) == expected
    published = CATALOG.models[model].results[0].metrics
    assert set(published) <= set(expected)


def test_evaluation_alone_prints_the_current_figure_only() -> None:
    found, _ = read("tpvformer", "2025-04-21 06:54:21,1 - mmseg - INFO - Current val miou pts is 68.123\n")
    assert metrics(found) == {"mIoU": 68.123}


def test_a_decimal_comma_is_one() -> None:
    found, _ = read("streampetr", "mAP: 0,4803\n")
    assert metrics(found) == {}, "the text that is searched for has a point"
    found, _ = read("flashocc", "===> mIoU of 6019 samples: 31,79\n")
    assert metrics(found) == {"mIoU": 31.79}


@pytest.mark.parametrize("model", MODELS)
def test_a_whole_training(model: str) -> None:
    found, parser = read(model, "\n".join(training(model, 2)))
    got = steps(found)
    assert parser.torn == parser.cut == parser.run == 0
    assert len(got) > 20
    assert {step.run for step in got} == {0}
    if model != "streampetr":
        assert {step.epoch for step in got} == {1, 2}
    assert len(metrics(found)) == len(log_of(model).metrics)


# --- how it is fed -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_pieces_of_any_size_say_the_same(model: str, end: str, size: int) -> None:
    text = [*list(training(model, 1))[-12:], "Traceback (most recent call last):", "  File x", "ValueError: no", "end"]
    whole, _ = read(model, "\n".join(text))
    assert read(model, end.join(text), size)[0] == whole
    assert failures(whole) == [("traceback", "ValueError: no")]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 200), st.sampled_from(MODELS))
def test_it_never_raises_and_pieces_never_matter(data: bytes, size: int, model: str) -> None:
    data = data.replace(b"A", step_line(model, 1, 100).encode()).replace(b"B", b"Traceback (most recent call last)")
    data = data.replace(b"C", b"out of memory").replace(b"D", b"\r\n\x1b[31m").replace(b"E", b'{"mode": "train", ')
    whole, one = read(model, data)
    pieces, two = read(model, data, size)
    assert pieces == whole
    assert (one.torn, one.cut) == (two.torn, two.cut)


def test_escape_sequences_inside_the_searched_text() -> None:
    line = step_line("pivotnet", 1, 10).replace("] lr=", "\x1b[1m]\x1b[0m lr\x1b[32m=")
    found, _ = read("pivotnet", f"\x1b]0;title\x07{line}\n\x1b[2K\x1b[1G")
    assert [step.step for step in steps(found)] == [10]


def test_other_encodings_do_not_matter() -> None:
    line = step_line("panoocc", 1, 50).encode()
    found, _ = read("panoocc", "训练 übergeben\n".encode("gb18030") + b"\xff\xfe" + line + b"\n")
    assert len(steps(found)) == 1


def test_progress_bars_end_a_line_with_a_carriage_return() -> None:
    bar = "".join(f"\r[{'>' * 40}] {done}/6019" for done in range(6019))
    found, parser = read("panoocc", bar + "\r16 categores mIoU: 0.6838\n", 4096)
    assert metrics(found) == {"mIoU": 0.6838}
    assert parser.cut == 0


# --- torn, repeated, again -----------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_torn_line_gives_no_wrong_figure(model: str) -> None:
    line, after = step_line(model, 1, 100), step_line(model, 1, 150)
    (whole,) = steps(read(model, line)[0])
    for cut in range(len(line)):
        for step in steps(read(model, f"{line[:cut]}\n{after}\n")[0])[:-1]:
            assert (step.step, step.of, step.epoch, step.seconds) == (whole.step, whole.of, whole.epoch, whole.seconds)
            assert str(whole.loss).startswith(str(step.loss).removesuffix(".0")) or step.loss == whole.loss


def test_two_lines_in_one_give_nothing() -> None:
    one, two = step_line("panoocc", 1, 50), step_line("panoocc", 1, 100)
    found, parser = read("panoocc", f"{one[:-3]}{two}\n")
    assert steps(found) == []
    assert parser.torn == 1


@pytest.mark.parametrize("model", MODELS)
def test_going_back_begins_another_run(model: str) -> None:
    places = [(1, 100), (1, 150), (2, 50), (1, 100), (2, 50), (2, 50)]
    lines = [step_line(model, *place, loss=float(number)) for number, place in enumerate(places)]
    found, parser = read(model, "\n".join(lines))
    assert [step.run for step in steps(found)] == [0, 0, 0, 1, 1, 2]
    assert parser.run == 2


def test_the_same_line_twice_counts_once() -> None:
    line = step_line("panoocc", 1, 50)
    found, parser = read("panoocc", f"{line}\n{line}\n")
    assert len(steps(found)) == 1
    assert (parser.run, parser.torn) == (0, 0)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "NaN"])
def test_a_loss_that_is_no_number_is_kept_as_such(word: str) -> None:
    line = step_line("panoocc", 1, 50, loss=1.0).replace(" loss: 1.0000", f" loss: {word}")
    (step,) = steps(read("panoocc", line)[0])
    assert step.loss is not None
    assert not math.isfinite(step.loss)


@pytest.mark.parametrize("word", ["nan", "-1.0", "0.000", "inf"])
def test_a_time_that_is_none(word: str) -> None:
    line = step_line("panoocc", 1, 50).replace(" time: 1.849", f" time: {word}")
    assert [step.seconds for step in steps(read("panoocc", line)[0])] == [None]


# --- mmcv's JSON logs ----------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "epochs"), [("panoocc", [1, 2]), ("streampetr", [None])])
def test_json_logs(model: str, epochs: list[int | None]) -> None:
    found, parser = read(model, "\n".join(json_log(model, 2)), structured=True)
    got = steps(found)
    assert list(dict.fromkeys(step.epoch for step in got)) == epochs
    assert got[0].rate == 1e-4, "the first of several groups"
    assert got[0].loss == 9.5
    assert parser.run == 0
    assert parser.torn == 0


@pytest.mark.parametrize(
    "line",
    [
        '{"mode": "train", "epoch": 1, "iter": 50',
        '{"mode": "train", "x": ' + "[" * 8000,
        '["mode": "train"]',
        '{"mode": "train", "epoch": 1, "iter": 1e400, "loss": 1, "time": 1}',
        '{"mode": "train", "epoch": true, "iter": -3, "loss": 1, "time": 1}',
        '{"mode": "train", "epoch": 1, "iter": ' + "9" * 5000 + ', "loss": 1, "time": 1}',
    ],
)
def test_json_that_is_none(line: str) -> None:
    found, parser = read("panoocc", line, structured=True)
    assert steps(found) == []
    assert parser.torn == 1


# --- trouble -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 60.97 GiB total)", "out-of-memory"),
        ("OSError: [Errno 28] No space left on device", "no-space"),
        ("OSError: [Errno 12] Cannot allocate memory", "out-of-memory"),
        ("EI9999: Inner Error!", "npu"),
        ("[ERROR] 2025-09-18-10:01:02 (PID:1, Device:0, RankID:0) ERR00100 PTA call acl api failed", "npu"),
    ],
)
def test_signals(line: str, kind: str) -> None:
    assert failures(read("streampetr", f"fine\n{line}\nfine\n")[0]) == [(kind, line)]


def test_ordinary_numbers_are_no_error_codes() -> None:
    assert failures(read("streampetr", "step 9999: fine, loss 0.9999: fine\n")[0]) == []


def test_a_patch_that_was_given_up_is_trouble_of_panoocc_only() -> None:
    line = "Failed to apply patch resnet_maxpool\n"
    assert failures(read("panoocc", line)[0]) == [("given-up", line.strip())]
    assert failures(read("streampetr", line)[0]) == []


def test_a_traceback_is_reported_by_the_line_that_ends_it() -> None:
    text = (
        "[rank3]: Traceback (most recent call last):\n"
        '[rank3]:   File "tools/train.py", line 1, in <module>\n'
        "[rank3]:     main()\n"
        "[rank3]: RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\n"
        f"{step_line('panoocc', 1, 50)}\n"
    )
    found, _ = read("panoocc", text)
    line = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"
    assert failures(found) == [("traceback", line), ("out-of-memory", line)]
    assert len(steps(found)) == 1


def test_a_traceback_that_the_log_ends_in() -> None:
    found, _ = read("panoocc", "Traceback (most recent call last):\n  File x\n")
    assert failures(found) == [("traceback", "Traceback (most recent call last):")]


def test_texts_for_people_have_no_control_characters() -> None:
    found, _ = read("panoocc", "\x00\x08\u202ekill out of memory \x1b[31m\u2028now\n")
    ((_, line),) = failures(found)
    assert line == "\ufffd\ufffd\ufffdkill out of memory \ufffdnow"


# --- hostile lines -------------------------------------------------------------------------------


def test_names_are_cut_cleaned_and_limited() -> None:
    hostile = "</script><img onerror=alert(1)>"
    extra = ", ".join(f"name{number}: 1.0" for number in range(500))
    line = step_line("panoocc", 1, 50) + f", {hostile}: 0.5, {'x' * 300}: 1.0, a\tb: 2.0, {extra}"
    (step,) = steps(read("panoocc", line)[0])
    assert hostile in step.others
    assert "a\ufffdb" in step.others
    assert len(step.others) <= 64
    assert all(len(name) <= 80 for name in step.others)


def test_of_a_line_that_is_too_long_the_beginning_is_read() -> None:
    long = "out of memory " + "x" * (3 * CAP)
    found, parser = read("panoocc", f"{long}\n{step_line('panoocc', 1, 50)}\n", 1000)
    assert [kind for kind, _ in failures(found)] == ["out-of-memory"]
    assert len(steps(found)) == 1
    assert parser.cut == 1


def test_digits_without_end_take_no_time_and_give_nothing() -> None:
    found, parser = read("panoocc", f" - INFO - Epoch [1][{'9' * (CAP - 100)}/3516]\tloss: 1.0, time: 1.0\n")
    assert steps(found) == []
    assert parser.torn == 1


@pytest.mark.parametrize("model", MODELS)
def test_lines_made_to_be_slow(model: str) -> None:
    log = log_of(model)
    for find in (log.steps.find, *(metric.find for metric in log.metrics)):
        for filler in (" ", "|", find, "Rank #0] 2025-04-25 at 10:00:00 ", "Epoch [1][1/1]", "9.", ": 1, "):
            line = (filler * CAP)[: CAP // 2] + find + (filler * CAP)[: CAP // 2]
            read(model, f"{line}\n{line}x\n")

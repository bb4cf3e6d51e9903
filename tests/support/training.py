"""Logs as the five models print them, made up from their format strings, and run folders with them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

START = datetime(2026, 3, 1, 23, 58, 0, tzinfo=timezone.utc)
EPOCH_STEPS = {"panoocc": 3516, "flashocc": 879, "tpvformer": 3517, "pivotnet": 3516, "streampetr": 1758}
STEP_SECONDS = {"panoocc": 1.849, "flashocc": 4.22, "tpvformer": 1.195, "pivotnet": 0.89, "streampetr": 0.79}
EVERY = {"panoocc": 50, "flashocc": 50, "tpvformer": 50, "pivotnet": 10, "streampetr": 50}
METRICS = {
    "panoocc": ["16 categores mIoU: 0.6838", "mAP: 0.3988", "mATE: 0.6100", "NDS: 0.4810", "Eval time: 91.0s"],
    "flashocc": ["===> empty - IoU = 90.1", "===> mIoU of 6019 samples: 31.79"],
    "tpvformer": [
        "2026-03-02 06:54:21,123 - mmseg - INFO - Current val miou pts is 68.123 while the best val miou pts is 68.661"
    ],
    "pivotnet": [
        "+----------+-------+-------+-------+--------+----------+----------+",
        "| Class    | AP@.2 | AP@.5 | AP@1. | AP@1.5 | mAP@HARD | mAP@EASY |",
        "| divider  |  18.1 |  52.2 |  71.4 |   77.5 |     47.2 |     67.0 |",
        "| Average  |  15.1 |  48.2 |  68.1 |   76.5 |     43.8 |     61.9 |",
    ],
    "streampetr": ["mAP: 0.4803", "NDS: 0.5712"],
}


def step_line(model: str, epoch: int, step: int, *, seconds: float | None = None, loss: float | None = None) -> str:
    """Return one step line; `epoch` from 1 on, `step` in the epoch."""
    of = EPOCH_STEPS[model]
    at = (epoch - 1) * of + step
    seconds = STEP_SECONDS[model] if seconds is None else seconds
    loss = 3 + 10 * math.exp(-at / (4 * of)) + 0.3 * math.sin(at) if loss is None else loss
    now = START + timedelta(seconds=at * STEP_SECONDS[model])
    stamp = f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03d}"
    rate = 2e-4 * (0.5 + 0.5 * math.cos(math.pi * at / (24 * of)))
    figures = (
        f"memory: 30280, loss_cls: {loss * 0.6:.4f}, loss_bbox: {loss * 0.4:.4f}, loss: {loss:.4f}, grad_norm: 35.1234"
    )
    if model in ("panoocc", "flashocc"):
        return (
            f"{stamp} - mmdet - INFO - Epoch [{epoch}][{step}/{of}]\tlr: {rate:.3e}, eta: 1 day, 12:32:12, "
            f"time: {seconds:.3f}, data_time: 0.056, {figures}"
        )
    if model == "streampetr":
        head = f"{stamp} - mmdet - INFO - Iter [{at}/{24 * of}]\tlr: {rate:.3e}, eta: 9:17:29"
        return f"{head}, time: {seconds:.3f}, {figures}"
    if model == "tpvformer":
        return (
            f"{stamp} - mmseg - INFO - [TRAIN] Epoch {epoch - 1} Iter {step:5d}/{of}: Loss: {loss:.3f}, "
            f"grad_norm: 12.3, lr: {rate:.7f}, time: {seconds:.3f} (0.012)"
        )
    stamp = f"{now:%Y-%m-%d} at {now:%H:%M:%S}"
    return f"[Rank #0] | {stamp} | INFO | e:{epoch - 1}[{step}/{of}] lr={rate:.6f} loss={loss:.4f} pts={loss / 2:.4f}"


def training(model: str, epochs: int, *, slower: float = 1.0, metrics: bool = True) -> Iterator[str]:
    """Yield the lines of a whole training, the first of which is slow, with a checkpoint after each epoch."""
    first = True
    for epoch in range(1, epochs + 1):
        begin = 0 if model == "tpvformer" else EVERY[model]
        for step in range(begin, EPOCH_STEPS[model] + 1, EVERY[model]):
            noise = 1 + 0.02 * math.sin(step * epoch)
            yield step_line(model, epoch, step, seconds=STEP_SECONDS[model] * slower * (30 if first else noise))
            first = False
        yield f"2026-03-02 00:00:00,000 - mmdet - INFO - Saving checkpoint at {epoch} epochs"
    if metrics:
        yield "".join(f"\r[{'>' * (done // 200)}] {done}/6019, 9.1 task/s" for done in range(0, 6019, 200))
        yield from METRICS[model]


def run_folder(
    root: Path, model: str, job: str, lines: Iterator[str] | list[str], *, name: str = "20261121T080000Z", **record: Any
) -> Path:
    """Make a run folder as drivebuild run and drivebuild-job leave it."""
    folder = root / model / job / name
    folder.mkdir(parents=True)
    (folder / "job.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    platform = {"panoocc": "cann-8.2.rc1", "tpvformer": "cann-8.0.0"}.get(model, "cann-8.1.rc1")
    run = {
        "schema": 1,
        "model": model,
        "job": job,
        "platform": platform,
        "variant": "stock",
        "command": ["bash", "test/train_8p.sh"],
        "args": [],
        "environment": {"HCCL_CONNECT_TIMEOUT": "1200"},
        "image": {"reference": f"drivebuild/{model}:{platform}-stock", "digest": f"sha256:{'0' * 64}"},
        "devices": [f"/dev/davinci{number}" for number in range(8)],
        "uid": 1000,
        "gid": 1000,
        "host": "npu-1",
        "started": "2026-11-21T08:00:00Z",
        "drivebuild": "0.1.0",
        **record,
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    result = {"schema": 1, "status": "succeeded", "exit_code": 0, "reason": "the log has what success looks like"}
    result |= {"signal": None, "command_status": 0, "finished": "2026-11-22T12:00:00Z", "seconds": 100800.0}
    (folder / "result.json").write_text(json.dumps({**result, "evidence": []}), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "model": model, "sources": []}), encoding="utf-8")
    return folder


def json_log(model: str, epochs: int) -> Iterator[str]:
    """Yield mmcv's `*.log.json` of a training."""
    yield json.dumps({"env_info": "made up", "config": "model = dict()\n" * 3000, "seed": 0})
    of = EPOCH_STEPS[model]
    for epoch in range(1, epochs + 1):
        for step in range(50, of + 1, 50):
            at = (epoch - 1) * of + step
            iteration = at if model == "streampetr" else step
            figures = {"lr": [1e-4, 2e-4], "memory": 30280, "loss": 9.5, "grad_norm": 35.1, "time": STEP_SECONDS[model]}
            yield json.dumps({"mode": "train", "epoch": epoch, "iter": iteration, **figures})
        yield json.dumps({"mode": "val", "epoch": epoch, "iter": 6019, "lr": 1e-4, "NDS": 0.5})

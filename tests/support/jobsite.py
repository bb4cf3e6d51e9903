"""A container's folders on the host, for `drivebuild-job` with scripts that stand in for training.

The table of jobs has the real form; only its places are below a temporary folder. The scripts print what upstream's
print; none of upstream's code is here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder import paths

JOB = paths.TEMPLATES / "scripts/job.py"
STEP = r"Epoch \[(\d+)\]\[(\d+)/(\d+)\].*?time: ([\d.]+)"
LINE = "2026-03-01 10:01:02,345 - mmdet - INFO - Epoch [1][50/3516]\tlr: 6.9e-05, eta: 1 day, 12:32:12, time: 1.849"
METRIC = "16 categores mIoU: 0.6838"
PATIENCE = 180.0


@dataclass
class Site:
    """The folders of one container."""

    root: Path
    entry: dict[str, Any] = field(default_factory=dict)
    """What the job's entry in the table says differently."""
    table: dict[str, Any] = field(default_factory=dict)
    """What the table says differently."""

    def __post_init__(self) -> None:
        for name in ("workspace/Toy", "nuscenes/samples", "prepared", "weights", "runs", "dev", "image"):
            (self.root / name).mkdir(parents=True)
        (self.root / "workspace/Toy/output").symlink_to(self.root / "tmp/run/outputs/Toy/output")
        (self.root / "image/manifest.json").write_text('{"schema": 1}\n')

    def write(self, script: str, *, shell: str = "bash") -> None:
        """Write the table with one job, `train-8p`, that runs this script."""
        (self.root / "workspace/Toy/train.sh").write_text(script)
        job = {
            "title": "Train",
            "kind": "train",
            "command": [shell, "train.sh"],
            "directory": "Toy",
            "npus": 0,
            "environment": {"RANK_SIZE": "8"},
            "outputs": ["Toy/output"],
            "prepares": False,
            "log": "",
            "success": METRIC.replace("0.6838", r"([\d.]+)"),
            "failures": ["Failed to apply patch"],
            "checkpoint": "",
            "quiet_minutes": 30,
            "data": [{"path": str(self.root / "nuscenes/samples"), "kind": "folder", "generated": False, "url": None}],
            "generated": [],
            "weights": [],
            **self.entry,
        }
        table = {
            "schema": 1,
            "model": "toy",
            "platform": "cann-8.2.rc1",
            "variant": "stock",
            "accelerator": "npu",
            "environment": ["TASK_QUEUE_ENABLE"],
            "workspace": str(self.root / "workspace"),
            "data": str(self.root / "nuscenes"),
            "data_root": "Toy/data/nuscenes",
            "prepared": str(self.root / "prepared"),
            "runs": str(self.root / "runs"),
            "links": str(self.root / "tmp/run"),
            "devices": str(self.root / "dev"),
            "needs_devices": ["davinci_manager"],
            "jobs": {"train-8p": job},
            **self.table,
        }
        (self.root / "image/jobs.json").write_text(json.dumps(table))

    def start(self, *arguments: str, job: str = "train-8p", **streams: Any) -> subprocess.Popen[bytes]:
        """Start drivebuild-job; keyword arguments in capitals are environment variables."""
        names = [name for name in streams if name.isupper()]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root), **{n: streams.pop(n) for n in names}}
        command = [sys.executable, str(JOB), "--jobs", str(self.root / "image/jobs.json"), job, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen(command, env=environment, **pipes)

    def run(self, script: str, *arguments: str, **streams: Any) -> tuple[int, str, str]:
        """Run the script as the job, and return exit status, standard output and error."""
        self.write(script)
        process = self.start(*arguments, **streams)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    @property
    def folder(self) -> Path:
        """The one run folder there is."""
        (found,) = (self.root / "runs/toy/train-8p").iterdir()
        return found

    @property
    def result(self) -> dict[str, Any]:
        """What the run folder says of the end."""
        found: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return found

    @property
    def log(self) -> bytes:
        """The whole log."""
        return (self.folder / "job.log").read_bytes()


def wait_for(what: Any) -> Any:
    """Return what a function returns, as soon as that is something."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def alive(pid: int) -> bool:
    """Return whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def kill_all(pids: list[int]) -> None:
    """Leave nothing behind, whatever a test found."""
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)

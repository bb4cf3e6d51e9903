"""A model whose jobs are stand-ins: scripts that end, fail, hang or misbehave in one way each, and an image of it that
is made in a second. Its entrypoint, `drivebuild-job` and table of jobs are the real ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.plan.jobs import job_table
from builder.recipe.types import Catalog
from support.files import REPOSITORY
from support.locks import HASH

SCRIPTS = REPOSITORY / "templates/scripts"
CPU, NPU = "debian-12-cpu", "cann-8.1.rc1"
HANG = "sleep 3600"
JOBS = {
    "good": "echo 'Epoch [1][1/2] loss: 0.5, time: 0.1'; id -u; echo \"$@\"; echo x > out/made; echo 'mAP: 0.41'",
    "status": "echo training; exit 3",
    "rank": "(sleep 0.2; echo rank 3 is gone; exit 9) & echo 'mAP: 0.41'; wait $! || exit 1",
    "traceback": ("echo 'mAP: 0.41'; python3 -c 'raise ValueError(\"loss is nan\")' || true; exit 0"),
    "metricless": "echo Epoch done; exit 0",
    "memory": "echo 'mAP: 0.41'; python3 -c 'x = bytearray(400 << 20)'",
    "disk": "echo 'mAP: 0.41'; dd if=/dev/zero of=out/big bs=1M count=64 && echo done",
    "long": (
        f"trap 'echo stopping; exit 0' INT TERM; echo started; echo kept > out/made; ({HANG} & {HANG} & wait) & wait"
    ),
    "stubborn": "trap '' INT TERM; echo started; while :; do sleep 0.2; done",
    "hostile": (
        "printf 'a%.0s' $(seq 1000); printf '\\033[2J\\033]0;owned\\007\\n'; head -c 30000000 /dev/zero | tr '\\0' y;"
        " echo; echo 'mAP: 0.41'"
    ),
}


def recipe() -> str:
    """Return the model's YAML."""
    jobs = [
        {
            "name": name,
            "title": f"Stand-in: {name}",
            "directory": "Toy",
            "command": ["bash", "-c", f'{text} # "$@"'],
            "npus": 0,
            "shm_gib": 1,
            "outputs": ["Toy/out"],
            "success": "mAP: [0-9.]+",
        }
        for name, text in JOBS.items()
    ]
    jobs.append({**jobs[0], "name": "shell", "title": "A shell", "command": ["bash"], "success": ""})
    train = {**jobs[0], "name": "train-2p", "title": "Stand-in: NPUs", "npus": 2, "batch": 2, "epochs": 2}
    model: dict[str, Any] = {
        "name": "toyrun",
        "title": "ToyRun",
        "summary": "A model that does not exist",
        "licence": "MIT",
        "readme": {"commit": "d" * 40, "source": "driving-sdk-7.0.rc1", "path": "README.md"},
        "platform": NPU,
        "sources": {
            "toyrun": {"type": "git", "url": "https://example.org/t.git", "commit": "e" * 40, "licence": "MIT"}
        },
        "tree": {"source": "toyrun", "directory": "Toy"},
        "requirements": {"packages": ["einops"]},
        "components": [],
        "data": {"dataset": "nuscenes", "root": "data/nuscenes", "entries": [{"path": "samples"}, {"path": "maps"}]},
        "weights": [{"file": "w.pth", "target": "ckpts/w.pth", "url": "https://example.org/w.pth"}],
        "jobs": [*jobs, train, {**jobs[0], "name": "prepare-data", "outputs": ["Toy/data/nuscenes"], "success": ""}],
        "results": [
            {"chip": "x", "cards": 2, "global_batch": 4, "epochs": 2, "metrics": {"mAP": 0.4}, "step_seconds": 0.2}
        ],
        "log": {
            "steps": {"find": "Epoch [", "match": r"Epoch \[(?P<epoch>\d+)\]\[(?P<step>\d+)/(?P<of>\d+)\]\s*"},
            "metrics": [{"name": "mAP", "find": "mAP: 0.", "match": r"mAP: (?P<value>[\d.]+)"}],
        },
    }
    return json.dumps(model)


def write_recipes(folder: Path) -> Path:
    """Write a folder of recipes with the model, and return it."""
    (folder / "models").mkdir(parents=True)
    (folder / "models/toyrun.yaml").write_text(recipe(), encoding="utf-8")
    for platform in (NPU, f"{NPU}-stub", CPU):
        (folder / "locks" / platform).mkdir(parents=True)
        for architecture in ("x86_64", "aarch64"):
            (folder / "locks" / platform / f"toyrun.{architecture}.txt").write_text(f"einops==0.8.0{HASH}\n")
    return folder


def write_context(catalog: Catalog, folder: Path, platform: str, name: str = "toyrun") -> Path:
    """Write what `docker build` makes the image from, and return the folder."""
    folder.mkdir(parents=True)
    model = catalog.models[name]
    table = job_table(model, catalog.platforms[platform], "stock", {})
    (folder / "jobs.json").write_text(json.dumps(table))
    (folder / "manifest.json").write_text(json.dumps({"model": name}))
    for path in SCRIPTS.glob("job*.py"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "entrypoint").write_bytes((SCRIPTS / "entrypoint.sh").read_bytes())
    (folder / "drivebuild-job").write_text('#!/bin/sh\nexec python3 -E -s /opt/drivebuild/job/job.py "$@"\n')
    (folder / "Dockerfile").write_text(f"""\
FROM localhost/drivebuild/base:debian-12
COPY --chmod=755 entrypoint jobs.json manifest.json /opt/drivebuild/
COPY job*.py /opt/drivebuild/job/
COPY --chmod=755 drivebuild-job /usr/local/bin/
RUN mkdir -p /workspace/{name}/Toy /workspace/{name}/.home && cd /workspace/{name} \\
 && ln -s {table["links"]}/outputs/Toy/out Toy/out && chgrp -R 1000 . && chmod -R g=u .
ENTRYPOINT ["/opt/drivebuild/entrypoint"]
""")
    return folder


@dataclass(frozen=True)
class Site:
    """A folder to run in, with recipes of its own."""

    folder: Path
    recipes: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def command(self, *words: str) -> list[str]:
        """Return the command line of drivebuild with these words."""
        return [sys.executable, "-m", "builder", "--recipes", str(self.recipes), *words]

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment without anything of the caller's site."""
        kept = {name: value for name, value in os.environ.items() if not name.endswith("_ROOT")}
        return {**kept, "PYTHONPATH": str(REPOSITORY), **more}

    def drivebuild(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run drivebuild to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
        )

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start drivebuild in a session of its own."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True, **options}
        return subprocess.Popen(self.command(*words), cwd=self.folder, env=self.environment(), **options)

    def all_runs(self) -> list[Path]:
        """Return every run folder, oldest first."""
        return sorted(self.runs.glob("*/*/*"), key=lambda path: path.stat().st_ctime)

    def last_result(self) -> dict[str, Any]:
        """Return result.json of the newest run."""
        found: dict[str, Any] = json.loads((self.all_runs()[-1] / "result.json").read_text())
        return found

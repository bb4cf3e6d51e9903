"""What runs in an image, and where its files come from and go: links, mounts and the table of jobs. Pure.

The layout is fixed, so that images, compose files and `drivebuild run` agree: the dataset in /data/nuscenes, what the
model's own conversion writes in /data/prepared, weights in /data/weights, run folders in /runs. Inside the model's
folder links lead there (facts: recipes.md section 6). They are made when the image is built, so a container needs no
right to write there, whatever its user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from builder.errors import UsageError
from builder.plan.select import choices, chosen
from builder.recipe.suggest import one_of
from builder.recipe.types import DataEntry, Job, Model, Platform

__all__ = [
    "DATA",
    "DEVICES",
    "LINKS",
    "PREPARED",
    "RUNS",
    "WEIGHTS",
    "Link",
    "data_root",
    "find_job",
    "job_entry",
    "job_kind",
    "job_table",
    "links",
    "offered",
    "reads_data",
    "torch_home",
    "written",
]

DATA = "/data/nuscenes"
PREPARED = "/data/prepared"
WEIGHTS = "/data/weights"
RUNS = "/runs"
LINKS = "/tmp/drivebuild/run"
"""A container's own: drivebuild-job makes it lead to the run folder."""
DEVICES = ("davinci_manager", "devmm_svm", "hisi_hdc")
"""Devices that every NPU job needs beside its davinciN (facts: platform.md section 4.1)."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link in the workspace: `path` below it, and the absolute place it leads to."""

    path: str
    target: str


def job_kind(job: Job) -> Literal["train", "eval", "prepare", "shell", "smoke", "other"]:
    """Return what kind of job it is, by its name."""
    if job.name.split("-")[0] == "train":
        return "train"
    named: dict[str, Literal["eval", "prepare", "shell", "smoke"]] = {
        "eval": "eval",
        "prepare-data": "prepare",
        "shell": "shell",
        "smoke": "smoke",
    }
    return named.get(job.name, "other")


def reads_data(job: Job) -> bool:
    """Return whether a job reads the dataset."""
    return job_kind(job) in ("train", "eval", "prepare")


def data_root(model: Model) -> str:
    """Return the folder, below the workspace, in which the model looks for the dataset."""
    return f"{model.tree.directory}/{model.data.root}"


def torch_home(model: Model) -> str:
    """Return TORCH_HOME, where the model has weights there; else nothing."""
    return f"/workspace/{model.name}/.torch" if any(weight.home == "torch" for weight in model.weights) else ""


def offered(model: Model, platform: Platform, choice: dict[str, str] | None = None) -> tuple[Job, ...]:
    """Return the jobs that make sense on a platform: where there are no NPUs, those that want none."""
    jobs = chosen(model.jobs, platform.accelerator, choices(model, choice or {}))
    if platform.accelerator == "npu":
        return jobs
    return tuple(job for job in jobs if not job.npus or job_kind(job) == "shell")


def find_job(model: Model, platform: Platform, choice: dict[str, str], name: str, *, also: tuple[Job, ...] = ()) -> Job:
    """Return a job by its name: one of the model's on that platform, or one of `also`.

    Raises:
        UsageError: when there is none, with the nearest name or why it is not there.
    """
    jobs = {job.name: job for job in (*also, *offered(model, platform, choice))}
    if name in jobs:
        return jobs[name]
    message = f"{model.name} on {platform.name} has no job {name!r}"
    if platform.name != model.platform and any(job.name == name for job in model.jobs):
        raise UsageError(message, hint=f"it wants NPUs: leave --platform {platform.name} out")
    raise UsageError(message, hint=one_of(name, jobs))


def written(model: Model, job: Job) -> tuple[str, ...]:
    """Return what a job writes, apart from the dataset's own folder: that is kept in the run folder."""
    return tuple(path for path in job.outputs if not _in_dataset(model, path))


def _in_dataset(model: Model, path: str) -> bool:
    return f"{path}/".startswith(f"{data_root(model)}/")


def links(model: Model) -> tuple[Link, ...]:
    """Return every link in the model's workspace, sorted."""
    made = {path: f"{LINKS}/outputs/{path}" for job in model.jobs for path in written(model, job)}
    for entry in model.data.entries:
        made[f"{data_root(model)}/{entry.path}"] = _entry_path(entry)
    for weight in model.weights:
        folder = ".torch" if weight.home == "torch" else model.tree.directory
        made[f"{folder}/{weight.target}"] = f"{WEIGHTS}/{weight.file}"
    # What lies below a link is there through it.
    return tuple(Link(path, made[path]) for path in sorted(made) if not any(_below(path, other) for other in made))


def _below(path: str, other: str) -> bool:
    return path.startswith(f"{other}/")


def _entry_path(entry: DataEntry) -> str:
    return f"{PREPARED if entry.generated else DATA}/{entry.path}"


def job_table(model: Model, platform: Platform, variant: str, choice: dict[str, str]) -> dict[str, Any]:
    """Return what `drivebuild-job` reads: /opt/drivebuild/jobs.json."""
    return {
        "schema": 1,
        "model": model.name,
        "platform": platform.name,
        "accelerator": platform.accelerator,
        "workspace": f"/workspace/{model.name}",
        "variant": variant,
        "environment": sorted(model.environment),
        "data": DATA,
        "data_root": data_root(model),
        "prepared": PREPARED,
        "runs": RUNS,
        "links": LINKS,
        "devices": "/dev",
        "needs_devices": list(DEVICES),
        "jobs": {job.name: job_entry(model, job) for job in offered(model, platform, choice)},
    }


def job_entry(model: Model, job: Job) -> dict[str, Any]:
    """Return what `drivebuild-job` reads of one job."""
    kind = job_kind(job)
    return {
        "title": job.title,
        "kind": kind,
        "command": list(job.command),
        "directory": job.directory,
        "npus": job.npus,
        "environment": dict(sorted(job.environment.items())),
        "outputs": list(written(model, job)),
        "prepares": kind == "prepare",
        "log": job.log,
        "success": job.success,
        "failures": list(model.log.failures) if model.log else [],
        "checkpoint": job.checkpoint,
        "quiet_minutes": job.quiet_minutes,
        "data": [_data(model, entry) for entry in model.data.entries if _wanted(job, entry)],
        "generated": [_data(model, entry) for entry in model.data.entries if entry.generated and kind == "prepare"],
        "weights": [
            {"path": f"{WEIGHTS}/{weight.file}", "url": weight.url, "note": weight.note}
            for weight in model.weights
            if weight.required and kind in ("train", "eval")
        ],
    }


def _wanted(job: Job, entry: DataEntry) -> bool:
    kind = job_kind(job)
    if kind not in ("train", "eval", "prepare") or (entry.readers and kind not in entry.readers):
        return False
    if not entry.required:
        return False
    # What a conversion makes, it does not need.
    return not (kind == "prepare" and entry.generated)


def _data(model: Model, entry: DataEntry) -> dict[str, Any]:
    return {
        "path": _entry_path(entry),
        "link": f"{data_root(model)}/{entry.path}",
        "kind": entry.kind,
        "generated": entry.generated,
        "url": entry.url,
    }

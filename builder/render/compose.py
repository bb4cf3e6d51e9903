"""Jobs to compose files. Pure.

Three renderings of every model, because a device, a driver mount or a runtime cannot depend on a variable: for hosts
with NPUs, for hosts with the Ascend container runtime, and for CPUs. A root file includes each set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from builder.plan.jobs import DATA, DEVICES, PREPARED, RUNS, WEIGHTS, job_kind, offered, reads_data
from builder.recipe.types import Catalog, Job, Model, Platform
from builder.render.engine import render_template

__all__ = ["COMPOSE_SETS", "ComposeSet", "render_compose", "render_compose_all", "render_compose_root"]

UNSET = "is not set: copy .env.example to .env and fill it in"


@dataclass(frozen=True, slots=True)
class ComposeSet:
    """One rendering of all models: its root file, and the folder of the models' files."""

    name: Literal["npu", "ascend", "cpu"]
    root: str
    folder: str


COMPOSE_SETS = (
    ComposeSet("npu", "compose.yaml", "compose"),
    ComposeSet("ascend", "compose.ascend.yaml", "compose/ascend"),
    ComposeSet("cpu", "compose.cpu.yaml", "compose/cpu"),
)


def render_compose_all(catalog: Catalog, templates: Mapping[str, str]) -> dict[str, str]:
    """Return every compose file by its path."""
    files: dict[str, str] = {}
    for kind in COMPOSE_SETS:
        models = [model for model in catalog.models.values() if _platform(catalog, model, kind) is not None]
        for model in models:
            files[f"{kind.folder}/{model.name}.yaml"] = render_compose(catalog, model, templates, kind)
        if models:
            files[kind.root] = render_compose_root(kind, [model.name for model in models], templates)
    return files


def render_compose(
    catalog: Catalog, model: Model, templates: Mapping[str, str], kind: ComposeSet = COMPOSE_SETS[0]
) -> str:
    """Return a model's compose file of one set: a service for every job that makes sense there."""
    platform = _platform(catalog, model, kind)
    if platform is None:
        raise ValueError(f"no platform for {kind.name}")
    jobs = offered(model, platform)
    services = [_service(model, job, kind) for job in jobs]
    words = [model.name, *(["--platform", platform.name] if platform.name != model.platform else [])]
    values = {
        "title": model.title,
        "model": model.name,
        "root": kind.root,
        "image": f"drivebuild/{model.name}:{platform.name}-${{DRIVEBUILD_VARIANT:-stock}}",
        "build": " ".join(words),
        "services": services,
        "home": f"/workspace/{model.name}/.home",
        "cpu": platform.accelerator == "cpu",
    }
    return render_template(templates, "compose/model.j2", values) + "\n"


def render_compose_root(kind: ComposeSet, models: list[str], templates: Mapping[str, str]) -> str:
    """Return a root file, so that `docker compose run <model>-<job>` works in the repository's root."""
    files = [f"{kind.folder}/{model}.yaml" for model in sorted(models)]
    return render_template(templates, "compose/root.j2", {"files": files, "kind": kind.name}) + "\n"


def _platform(catalog: Catalog, model: Model, kind: ComposeSet) -> Platform | None:
    own = catalog.platforms[model.platform]
    if kind.name != "cpu":
        # A model whose own platform has no NPU is in the first set all the same, and not in the others.
        return own if own.accelerator == "npu" or kind.name == "npu" else None
    laptops = (platform for platform in catalog.platforms.values() if platform.accelerator == "cpu")
    return own if own.accelerator == "cpu" else next(laptops, None)


def _service(model: Model, job: Job, kind: ComposeSet) -> dict[str, Any]:
    npus = 0 if kind.name == "cpu" else job.npus
    return {
        "name": f"{model.name}-{job.name}",
        "title": job.title,
        "job": job.name,
        "npus": npus,
        "devices": [*(f"davinci{number}" for number in range(npus)), *DEVICES] if npus and kind.name == "npu" else [],
        "visible": f"0-{npus - 1}" if npus > 1 else "0",
        "runtime": kind.name == "ascend" and npus > 0,
        "driver": kind.name == "npu" and npus > 0,
        "shm": f"{job.shm_gib if npus else min(job.shm_gib, 8)}gb",
        "interactive": job_kind(job) == "shell",
        "mounts": list(_mounts(model, job, kind)),
    }


def _mounts(model: Model, job: Job, kind: ComposeSet) -> Iterator[dict[str, Any]]:
    """Yield the host's folders. What is unset becomes a path that says so: the engine's error then names it.

    `${NAME:?...}` would stop every service of the file, those that do not need the folder as well.
    """
    what = job_kind(job)
    shell = what == "shell" and kind.name != "cpu"
    if reads_data(job) or shell:
        yield {"source": _folder("NUSCENES_ROOT"), "target": DATA, "read_only": True}
        prepared = f"{_folder('PREPARED_ROOT')}/{model.name}"
        yield {"source": prepared, "target": PREPARED, "read_only": what != "prepare"}
    if model.weights and (what in ("train", "eval") or shell):
        yield {"source": _folder("WEIGHTS_ROOT"), "target": WEIGHTS, "read_only": True}
    yield {"source": "${RUNS_ROOT:-./runs}", "target": RUNS, "read_only": False}


def _folder(name: str) -> str:
    return f"${{{name}:-/{name} {UNSET}}}"

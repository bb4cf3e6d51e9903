"""Jobs to compose files. Pure.

A first version: devices and driver mounts for NPU platforms, the dataset read-only where the model looks for it, what a
job writes on volumes. A job that writes into the dataset's own folder (the conversion of nuScenes) has no service yet:
it needs a writable layer over the read-only dataset, which comes with `drivebuild run`, as do checks before a run, run
folders and results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.plan.select import choices, chosen
from builder.recipe.types import Catalog, Job, Model
from builder.render.engine import render_template

__all__ = ["render_compose", "render_compose_root"]

_DEVICES = ("davinci_manager", "devmm_svm", "hisi_hdc")


def render_compose(catalog: Catalog, model: Model, templates: Mapping[str, str]) -> str:
    """Return `compose/<model>.yaml`: a service for every job of the model on its own platform."""
    platform = catalog.platforms[model.platform]
    default = choices(model, {})
    npu = platform.accelerator == "npu"
    jobs = [job for job in chosen(model.jobs, platform.accelerator, default) if not _writes_dataset(model, job)]
    services = [_service(model, job, npu=npu) for job in jobs]
    values = {
        "title": model.title,
        "model": model.name,
        "image": f"drivebuild/{model.name}:{platform.name}-${{DRIVEBUILD_VARIANT:-stock}}",
        "npu": npu,
        "services": services,
        "volumes": sorted({volume["name"] for service in services for volume in service["volumes"]}),
    }
    return render_template(templates, "compose/model.j2", values) + "\n"


def render_compose_root(catalog: Catalog, templates: Mapping[str, str]) -> str:
    """Return the root `compose.yaml`, so that `docker compose run <model>-<job>` works in the repository's root."""
    return render_template(templates, "compose/root.j2", {"models": sorted(catalog.models)}) + "\n"


def _writes_dataset(model: Model, job: Job) -> bool:
    root = f"{model.tree.directory}/{model.data.root}"
    return any(output == root or output.startswith(f"{root}/") for output in job.outputs)


def _volume(model: Model, output: str) -> dict[str, str]:
    name = f"{model.name}-{output}".lower().replace("/", "-").replace(".", "-")
    return {"name": name, "target": f"/workspace/{model.name}/{output}"}


def _service(model: Model, job: Job, *, npu: bool) -> dict[str, Any]:
    workspace = f"/workspace/{model.name}"
    devices = [f"davinci{number}" for number in range(job.npus)]
    return {
        "name": f"{model.name}-{job.name}",
        "title": job.title,
        "command": [_compose_text(word) for word in job.command],
        "directory": workspace if job.directory == "." else f"{workspace}/{job.directory}",
        "devices": [*devices, *_DEVICES] if npu and job.npus else [],
        "shm": f"{job.shm_gib}gb",
        "environment": {key: _compose_text(value) for key, value in sorted(job.environment.items())},
        "interactive": job.name == "shell",
        "volumes": [_volume(model, output) for output in job.outputs],
        "data": f"{workspace}/{model.tree.directory}/{model.data.root}",
    }


def _compose_text(value: str) -> str:
    """Compose expands `$NAME` in every value; `$$` is a dollar."""
    return value.replace("$", "$$")

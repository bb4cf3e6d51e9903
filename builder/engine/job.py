"""One run of a job: what was asked for, what of it is missing, and the compose project that is started for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.engine.containers import FOLDER, RUN, Container
from builder.engine.machine import MANAGERS, Machine
from builder.engine.npu import device_text, judge_driver
from builder.engine.rundir import RunFolder
from builder.engine.site import Site
from builder.errors import RunError
from builder.plan.jobs import RUNS
from builder.recipe.types import Job, Model, Platform

__all__ = ["DEVICES", "Order", "container_name", "mounts", "problems", "resolved_devices", "start_command", "tailored"]

DEVICES = "drivebuild.devices"
"""Label: the NPUs of a run, as `0-3`."""
UNSET = " is not set"
"""In the path that a compose file names in place of an unset variable: builder/render/compose.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the caller asked for."""

    model: Model
    job: Job
    platform: Platform
    variant: str
    image: str
    args: tuple[str, ...] = ()
    devices: tuple[int, ...] | None = None
    """None: those of the recipe, 0 to `npus` - 1."""
    runtime: bool = False
    """Whether the Ascend container runtime brings devices and driver."""
    environment: Mapping[str, str] = field(default_factory=dict)
    memory: str = ""
    uid: int = 1000
    gid: int = 1000
    volumes: tuple[Mapping[str, Any], ...] = ()
    """Mounts beside the service's own, as a compose project has them."""
    open_files: int = 0
    """The most that the engine can give; 0: what the service asks for."""
    host: Path = Path("/")
    """The host's root folder; another one only where a machine is made up."""

    @property
    def service(self) -> str:
        """Name of the compose service."""
        return f"{self.model.name}-{self.job.name}"

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.model.name} {self.job.name}"

    @property
    def npus(self) -> tuple[int, ...]:
        """The NPUs it gets."""
        if self.platform.accelerator != "npu" or not self.job.npus:
            return ()
        return self.devices if self.devices is not None else tuple(range(self.job.npus))


def mounts(service: Mapping[str, Any]) -> dict[str, Path]:
    """Return the host's path of each bind mount of a resolved service, by its target."""
    volumes = service.get("volumes") or ()
    return {str(each["target"]): Path(str(each["source"])) for each in volumes if each.get("type") == "bind"}


def problems(
    order: Order,
    service: Mapping[str, Any],
    needs: Mapping[str, Any],
    machine: Machine,
    others: tuple[Container, ...],
) -> Iterator[str]:
    """Yield everything that keeps a job from starting; `needs` is its entry in the image's table of jobs."""
    yield from _npu_problems(order, machine, others)
    bound = mounts(service)
    absent: set[str] = set()
    for target, source in bound.items():
        if target == RUNS or source.exists() or _is_driver(order, source):
            continue
        absent.add(target)
        name = source.name if UNSET not in str(source) else str(source).strip("/").split("/")[0]
        yield name if UNSET in name else f"{source} is not there; the container's {target} comes from it"
    yield from _file_problems(needs, bound, absent)
    yield from _run_problems(order, bound)


def _npu_problems(order: Order, machine: Machine, others: tuple[Container, ...]) -> Iterator[str]:
    if not order.npus:
        return
    present = machine.devices()
    lacking = machine.lacking(order.npus)
    if lacking and not present:
        yield f"this machine has no NPU or no driver: {_missing(lacking)}"
    elif lacking:
        yield f"{_missing(lacking)}; there are davinci{device_text(present)}"
    cann, driver = order.platform.cann, machine.driver()
    if cann is not None and driver:
        verdict = judge_driver(driver, cann)
        if verdict.state == "FAIL":
            yield f"the driver is {driver}: {verdict.why}"
    for other in others:
        shared = sorted(set(other.devices) & set(order.npus))
        if shared:
            what = f"the run {other.labels[RUN]}" if RUN in other.labels else f"the container {other.name}"
            word = "device" if len(shared) == 1 else "devices"
            yield f"{word} {device_text(shared)} in use by {what}; --devices takes others"


def _is_driver(order: Order, source: Path) -> bool:
    """Return whether a mount is one of the driver's, which `Machine.lacking` has looked at."""
    return bool(order.npus) and str(source).startswith(("/usr/local/", "/etc/ascend_install.info"))


def _file_problems(needs: Mapping[str, Any], bound: Mapping[str, Path], absent: set[str]) -> Iterator[str]:
    lost: dict[str, list[str]] = {}
    for entry in (*needs.get("data", ()), *needs.get("weights", ())):
        root = next((target for target in bound if str(entry["path"]).startswith(f"{target}/")), "")
        if not root or root in absent:
            continue
        relative = str(entry["path"])[len(root) + 1 :]
        path = bound[root] / relative
        if not (path.is_dir() if entry.get("kind") == "folder" else path.is_file() and path.stat().st_size):
            if entry.get("generated"):
                advice = f": {entry['url']}" if entry.get("url") else ": the job prepare-data makes it"
            else:
                advice = f": {entry['url']}" if entry.get("url") else ""
            lost.setdefault(str(bound[root]), []).append(f"{relative}{advice}")
    for folder, names in lost.items():
        yield f"{folder} lacks {_listed(names)}"


def _run_problems(order: Order, bound: Mapping[str, Path]) -> Iterator[str]:
    runs = bound.get(RUNS)
    if runs is None:
        return
    there = next(path for path in (runs, *runs.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield f"{there} cannot be written by you: RUNS_ROOT in .env names the folder of runs"
    elif order.uid != os.getuid() and os.getuid() != 0:
        yield f"DRIVEBUILD_UID is {order.uid}, you are {os.getuid()}: the job could not write your run folder"


def tailored(config: Mapping[str, Any], order: Order, folder: RunFolder) -> dict[str, Any]:
    """Return the compose project of one run: the resolved service with this run's image, user, devices and names.

    Values of `order.environment` are left to the environment of `docker compose`: they may be secrets, and the file
    stays in the run folder.

    Raises:
        RunError: when the project has no such service.
    """
    services = config.get("services") or {}
    if order.service not in services:
        raise RunError(f"the compose file has no service {order.service}")
    service = dict(services[order.service])
    # It only says how the image is made; here it is there.
    service.pop("build", None)
    environment: dict[str, str | None] = {**(service.get("environment") or {}), "DRIVEBUILD_RUN": folder.path.name}
    environment["DRIVEBUILD_IMAGE"] = order.image
    if order.devices is not None:
        environment["DRIVEBUILD_NPUS"] = str(len(order.devices))
    environment |= dict.fromkeys(order.environment)
    if order.runtime and order.npus:
        environment["ASCEND_VISIBLE_DEVICES"] = device_text(order.npus)
    elif order.npus:
        service["devices"] = list(resolved_devices(order))
    service |= {
        "image": order.image,
        "user": f"{order.uid}:{order.gid}",
        "environment": environment,
        "labels": {
            **(service.get("labels") or {}),
            RUN: folder.name,
            FOLDER: str(folder.path),
            DEVICES: device_text(order.npus),
        },
    }
    if order.volumes:
        service["volumes"] = [*(service.get("volumes") or ()), *order.volumes]
    if order.open_files and "nofile" in (service.get("ulimits") or {}):
        service["ulimits"] = {**service["ulimits"], "nofile": order.open_files}
    if order.memory:
        # Without room for swap, or the limit would be twice as large.
        service |= {"mem_limit": order.memory, "memswap_limit": order.memory}
    if order.host != Path("/"):
        service["volumes"] = [_moved(order, volume) for volume in service.get("volumes") or ()]
    return {**config, "services": {order.service: service}}


def resolved_devices(order: Order) -> Iterator[str]:
    """Yield the devices of a container, as compose writes them."""
    for name in (*(f"davinci{number}" for number in order.npus), *MANAGERS):
        yield f"{order.host / 'dev' / name}:/dev/{name}"


def start_command(order: Order, folder: RunFolder, site: Site, project: Path) -> tuple[str, ...]:
    """Return the command that starts a run's container."""
    start = ("docker", "compose", "--project-directory", str(site.folder), "--file", str(project))
    name = container_name(folder)
    return (*start, "run", "--detach", "--no-TTY", "--name", name, order.service, *order.args)


def container_name(folder: RunFolder) -> str:
    """Return the name of a run's container."""
    return "drivebuild-" + "-".join(folder.path.parts[-3:]).lower()


def _moved(order: Order, volume: Mapping[str, Any]) -> Mapping[str, Any]:
    source = Path(str(volume.get("source", "")))
    if volume.get("type") == "bind" and _is_driver(order, source):
        return {**volume, "source": str(order.host / source.relative_to("/"))}
    return volume


def _missing(paths: tuple[str, ...]) -> str:
    """Return what is missing, with devices in short: /dev/davinci0-7."""
    numbers = [int(path[12:]) for path in paths if re.fullmatch(r"/dev/davinci[0-9]+", path)]
    short = [f"/dev/davinci{device_text(numbers)}"] if numbers else []
    names = [*short, *(path for path in paths if not re.fullmatch(r"/dev/davinci[0-9]+", path))]
    return f"{_listed(names, 8)} {'is' if len(paths) == 1 else 'are'} missing"


def _listed(names: tuple[str, ...] | list[str], most: int = 4) -> str:
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])

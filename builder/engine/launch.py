"""A run from an order to a container that runs: folder, records, project file, `docker compose run --detach`."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import msgspec

from builder import __version__
from builder.engine.containers import Containers, GoneError
from builder.engine.folders import make_folder, state_folder
from builder.engine.host import Image
from builder.engine.job import Order, container_name, start_command, tailored
from builder.engine.process import CommandMissingError, Runner
from builder.engine.rundir import ImageUsed, RunFolder, RunStart, is_secret, new_folder, utc_text, write_json
from builder.engine.site import Site
from builder.errors import RunError

__all__ = ["PROJECT", "Launched", "devices_lock", "launch", "prepare", "project_text", "run_start"]

PROJECT = "compose.json"
"""The compose project of a run, in its folder: what was started can be started again."""


class Launched(msgspec.Struct, frozen=True, kw_only=True):
    """A run whose container was started."""

    folder: RunFolder
    container: str


@contextlib.contextmanager
def devices_lock(*, wanted: bool) -> Iterator[None]:
    """Let no other drivebuild of this user look for free devices until the container of this one has them."""
    if not wanted:
        yield
        return
    with filelock.FileLock(make_folder(state_folder()) / "devices.lock"):
        yield


def project_text(project: Mapping[str, Any]) -> str:
    """Return a compose project as the file that is written."""
    return msgspec.json.format(msgspec.json.encode(project), indent=1).decode() + "\n"


def run_start(order: Order, image: Image | None, now: float) -> RunStart:
    """Return what run.json says. Values of secrets are left out."""
    return RunStart(
        model=order.model.name,
        job=order.job.name,
        platform=order.platform.name,
        variant=order.variant,
        command=(*order.job.command, *order.args),
        args=order.args,
        environment={
            name: "(not recorded)" if is_secret(name) else value
            for name, value in sorted({**order.job.environment, **order.environment}.items())
        },
        image=ImageUsed(reference=order.image, digest=(image.digest or image.id) if image else None),
        devices=tuple(f"davinci{number}" for number in order.npus),
        uid=order.uid,
        gid=order.gid,
        host=socket.gethostname(),
        started=utc_text(now),
        drivebuild=__version__,
    )


def prepare(order: Order, site: Site, config: Mapping[str, Any], image: Image) -> RunFolder:
    """Make the run folder with run.json and the compose project in it.

    Raises:
        RunError: when it cannot be made, or given to the job's user.
    """
    now = time.time()
    folder = new_folder(site.runs, order.model.name, order.job.name, now)
    try:
        write_json(folder.path / "run.json", run_start(order, image, now))
        (folder.path / PROJECT).write_text(project_text(tailored(config, order, folder)), encoding="utf-8")
        if order.uid != os.getuid():
            for path in (folder.path, *folder.path.iterdir()):
                os.chown(path, order.uid, order.gid)
    except OSError as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise RunError(f"{folder.path}: {error.strerror}", hint="RUNS_ROOT in .env names another folder") from error
    return folder


def launch(order: Order, site: Site, folder: RunFolder, runner: Runner, containers: Containers) -> Launched:
    """Start the container of a prepared run. When it cannot be started, nothing of the run is left.

    Raises:
        RunError: when compose or the engine refuses, in their words.
    """
    name = container_name(folder)
    project: Path = folder.path / PROJECT
    try:
        said = runner.run(start_command(order, folder, site, project), env=order.environment or None)
    except CommandMissingError as error:
        _forget(folder, containers, name)
        raise RunError(error.message) from error
    except KeyboardInterrupt:
        _forget(folder, containers, name)
        raise
    if said.code != 0:
        # Compose prints the engine's words first; the container itself has them without decoration.
        why = _refusal(containers, name) or said.complaint or said.text or "no reason was given"
        _forget(folder, containers, name)
        hint = f"`drivebuild doctor {order.model.name}` looks at engine, devices and folders"
        raise RunError(f"{order.title} cannot be started: {why}", hint=hint)
    return Launched(folder=folder, container=name)


def _refusal(containers: Containers, name: str) -> str:
    try:
        return containers.find(name).error
    except GoneError:
        return ""


def _forget(folder: RunFolder, containers: Containers, name: str) -> None:
    containers.remove(name)
    # What the job may have written is never taken away.
    if not folder.log.exists():
        shutil.rmtree(folder.path, ignore_errors=True)

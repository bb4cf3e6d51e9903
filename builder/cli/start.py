"""What `run` and `data prepare` share: the checks before a job, its start, the wait for its end, and its end."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from builder.cli.main import Settings
from builder.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.cli.jobview import JobView
    from builder.engine.containers import Containers
    from builder.engine.host import Engine, Image
    from builder.engine.job import Order
    from builder.engine.process import SystemRunner
    from builder.engine.rundir import RunFolder, RunResult
    from builder.engine.site import Site

__all__ = ["Scene", "attend", "end_as", "launch_job", "make_scene", "view_of"]

INTERRUPTED = (129, 130, 143)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a run happens in."""

    settings: Settings
    site: Site
    engine: Engine
    containers: Containers
    runner: SystemRunner
    config: Mapping[str, Any]
    """The compose project, with every variable filled in."""


# --- what it happens in -----------------------------------------------------------------------------


def make_scene(settings: Settings, order: Order) -> tuple[Scene, Order]:
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import replace

    from builder.engine.compose import resolve
    from builder.engine.containers import Containers
    from builder.engine.host import connect
    from builder.engine.process import SystemRunner
    from builder.engine.site import find_site
    from builder.render.compose import COMPOSE_SETS, render_compose
    from builder.source.catalog import read_templates

    site = find_site(Path.cwd(), os.environ)
    order = replace(
        order, uid=_number(site, "DRIVEBUILD_UID", os.getuid()), gid=_number(site, "DRIVEBUILD_GID", os.getgid())
    )
    name = "cpu" if order.platform.accelerator == "cpu" else "ascend" if order.runtime else "npu"
    kind = next(each for each in COMPOSE_SETS if each.name == name)
    text = render_compose(settings.catalog(), order.model, read_templates(), kind)
    runner = SystemRunner()
    values = {"RUNS_ROOT": str(site.runs), "DRIVEBUILD_UID": str(order.uid), "DRIVEBUILD_GID": str(order.gid)}
    # Compose resolves while the docker SDK is loaded: each takes as long as the other.
    with ThreadPoolExecutor(1) as pool:
        resolving = pool.submit(resolve, runner, text, order.service, folder=site.folder, environment=values)
        engine = connect()
        config = resolving.result()
    scene = Scene(
        settings=settings, site=site, engine=engine, containers=Containers(engine), runner=runner, config=config
    )
    return scene, order


def _number(site: Site, name: str, own: int) -> int:
    text = site.variables.get(name, "")
    if text and not text.isdigit():
        raise UsageError(f"{name}={text}: expected a number")
    return int(text) if text else own


# --- before the start ------------------------------------------------------------------------------


def launch_job(scene: Scene, order: Order, context: typer.Context, *, no_build: bool) -> RunFolder:
    from builder.engine.launch import devices_lock, launch, prepare
    from builder.engine.supervise import settle
    from builder.plan.jobs import job_kind

    settle(scene.containers)
    image = scene.engine.image(order.image)
    if image is None:
        _check(scene, order, image, no_build=no_build)
        image = _built(scene, order, context)
    # A build takes long; nobody else waits for it, and what was free before it may be in use now.
    with devices_lock(wanted=bool(order.npus)):
        _check(scene, order, image, no_build=no_build)
        order = _fitting(scene, order)
        folder = prepare(order, scene.site, scene.config, image)
        if job_kind(order.job) == "shell":
            _hand_over(scene, order, folder)
        launch(order, scene.site, folder, scene.runner, scene.containers)
    return folder


def _fitting(scene: Scene, order: Order) -> Order:
    """Ask for no more open files than this engine can give: it would refuse to start the container at all."""
    from dataclasses import replace

    from builder.engine.machine import OPEN_FILES, Machine

    most = Machine(order.host, scene.runner).most_open_files()
    if not most or most >= OPEN_FILES or not order.npus:
        return order
    typer.echo(f"the engine can give a container {most} open files, not {OPEN_FILES}; `drivebuild doctor`", err=True)
    return replace(order, open_files=most)


def _check(scene: Scene, order: Order, image: Image | None, *, no_build: bool) -> None:
    """Say all that is missing, at once.

    Raises:
        RunError: with one line for each thing.
    """
    from builder.engine.job import problems
    from builder.engine.machine import Machine
    from builder.plan.jobs import job_kind, job_table
    from builder.plan.select import choices

    table = job_table(order.model, order.platform, order.variant, choices(order.model, {}))
    machine = Machine(order.host, scene.runner)
    service = scene.config["services"][order.service]
    # A shell looks at whatever is there.
    others = scene.containers.running() if order.npus else ()
    strict = job_kind(order.job) != "shell"
    found = list(problems(order, service, table["jobs"][order.job.name], machine, others)) if strict else []
    build = shlex.join(("drivebuild", "image", order.model.name, *_image_words(order)))
    if image is None and no_build:
        found.append(f"there is no image {order.image}: `{build}` builds it")
    if image is not None and order.npus and (image.config.get("Labels") or {}).get("drivebuild.runnable") == "false":
        found.append(f"the image {order.image} has a link-only stand-in for CANN, good for checks and no training")
    if not found:
        return
    hint = f"`drivebuild doctor {order.model.name}` says more, docs/running.md how to get it"
    if len(found) == 1:
        raise RunError(f"{order.title} cannot start: {found[0]}", hint=hint)
    raise RunError("\n  - ".join((f"{order.title} cannot start:", *found)), hint=hint)


def _image_words(order: Order) -> list[str]:
    words = ["--platform", order.platform.name] if order.platform.name != order.model.platform else []
    return [*words, *(["--variant", order.variant] if order.variant != "stock" else [])]


def _built(scene: Scene, order: Order, context: typer.Context) -> Image:
    from builder.cli.build import image as build_image

    typer.echo(f"there is no image {order.image}; building it first")
    words = {"platform": order.platform.name, "variant": order.variant}
    build_image(context, order.model.name, **words)  # type: ignore[arg-type]
    image = scene.engine.image(order.image)
    if image is None:
        raise RunError(f"the build left no image {order.image}")
    return image


def _hand_over(scene: Scene, order: Order, folder: RunFolder) -> None:
    """Become `docker compose run` on the caller's own terminal. Does not return."""
    from builder.engine.job import start_command
    from builder.engine.launch import PROJECT

    words = list(start_command(order, folder, scene.site, folder.path / PROJECT))
    words[words.index("--detach")] = "--rm"
    if sys.stdin.isatty() and sys.stdout.isatty():
        words.remove("--no-TTY")
    sys.stdout.flush()
    os.execvpe(words[0], words, {**os.environ, **order.environment})  # noqa: S606


# --- while it runs ---------------------------------------------------------------------------------


def view_of(order: Order) -> JobView:
    """Return what shows a training, with its step time beside the published one."""
    from builder.cli.jobview import make_job_view
    from builder.training.compare import published_row
    from builder.training.progress import Progress

    row = published_row(order.model, order.job, len(order.npus)) if order.npus else None
    return make_job_view(Progress(order.model, epochs=order.job.epochs, published=row.step_seconds if row else None))


def attend(folder: RunFolder, view: JobView, containers: Containers) -> RunResult:
    """Show a started run until it ends, hand signals on to it, and return how it ended."""
    from builder.engine.job import container_name
    from builder.engine.supervise import Signals, Watcher

    watcher = Watcher(containers, container_name(folder), folder, feed=view.feed, say=view.say)
    with Signals() as signals:
        try:
            return watcher.watch(signals)
        finally:
            view.close()


def end_as(folder: RunFolder, result: RunResult) -> None:
    from builder.cli.jobview import human_duration
    from builder.engine.text import printable

    taken = human_duration(result.seconds)
    if result.status == "succeeded":
        typer.echo(f"{folder.name} succeeded in {taken}: {printable(result.reason)}", err=True)
        typer.echo(f"{folder.path}", err=True)
        return
    if result.status == "interrupted" or result.exit_code in INTERRUPTED:
        typer.echo(f"{folder.name} interrupted after {taken}: {printable(result.reason)}", err=True)
        raise typer.Exit(result.exit_code if result.exit_code in INTERRUPTED else RunError.exit_code)
    message = f"{folder.name} {result.status} after {taken}: {printable(result.reason)}"
    raise RunError(message, hint=f"{folder.path} has job.log and result.json; `drivebuild runs show {folder.name}`")

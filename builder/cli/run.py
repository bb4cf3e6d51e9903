"""`run`: one job of a model, in its image, from the checks before it to its true end."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.build import Model
from builder.cli.main import Settings, app
from builder.cli.options import Lto, Platform, Variant, variant_of
from builder.cli.order import make_order
from builder.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.engine.containers import Containers
    from builder.engine.host import Engine, Image
    from builder.engine.job import Order
    from builder.engine.process import SystemRunner
    from builder.engine.rundir import RunFolder, RunResult
    from builder.engine.site import Site
    from builder.recipe.types import Model as ModelRecipe

INTERRUPTED = (129, 130, 143)
ROOT = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What a run happens in."""

    settings: Settings
    site: Site
    engine: Engine
    containers: Containers
    runner: SystemRunner
    config: Mapping[str, Any]
    """The compose project, with every variable filled in."""


@app.command()
def run(
    context: typer.Context,
    model: Model,
    job: Annotated[str, typer.Argument(metavar="JOB", help="One of the model's jobs; `drivebuild show` lists them.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGUMENT...]", help="Added to the job's command.")
    ] = None,
    devices: Annotated[
        str, typer.Option("--devices", metavar="0-3|0,2,5", help="The NPUs it gets; the first ones by default.")
    ] = "",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print the run's name and return; `runs logs -f` follows it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the command and the resolved compose project; touch nothing.")
    ] = False,
    platform: Platform = "",
    lto: Lto = False,
    variant: Variant = "",
    runtime: Annotated[
        str, typer.Option("--runtime", metavar="ascend", help="Let the Ascend container runtime bring the devices.")
    ] = "",
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable of the job; NAME alone takes the caller's."),
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="The most memory it may use, such as 64g.")
    ] = "",
    no_build: Annotated[
        bool, typer.Option("--no-build", help="Stop when the image is missing, and do not build it.")
    ] = False,
    host_root: Annotated[Path, typer.Option("--host-root", hidden=True)] = ROOT,
) -> None:
    """Run a job and end as it ended: 0 when it proved its success, 7 when not, 130 or 143 when it was stopped.

    Everything that is missing is said at once, before anything is started. Each run has a folder of its own below
    RUNS_ROOT, with its log, its outputs and how it ended.
    """
    settings: Settings = context.obj
    order = make_order(
        settings,
        model,
        job,
        platform=platform,
        variant=variant_of(variant, lto=lto),
        runtime=runtime,
        args=tuple(arguments or ()),
        devices=devices,
        environment=env or [],
        memory=memory,
        host=host_root,
    )
    scene, order = _scene(settings, order)
    if dry_run:
        _print_dry_run(scene, order)
        return
    folder = _launch(scene, order, context, no_build=no_build)
    if detach:
        _detach(folder)
        return
    result = _attend(folder, order, _published(order))
    _end(folder, result)


# --- what it happens in -----------------------------------------------------------------------------


def _scene(settings: Settings, order: Order) -> tuple[_Scene, Order]:
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
    scene = _Scene(
        settings=settings, site=site, engine=engine, containers=Containers(engine), runner=runner, config=config
    )
    return scene, order


def _number(site: Site, name: str, own: int) -> int:
    text = site.variables.get(name, "")
    if text and not text.isdigit():
        raise UsageError(f"{name}={text}: expected a number")
    return int(text) if text else own


# --- before the start ------------------------------------------------------------------------------


def _launch(scene: _Scene, order: Order, context: typer.Context, *, no_build: bool) -> RunFolder:
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


def _fitting(scene: _Scene, order: Order) -> Order:
    """Ask for no more open files than this engine can give: it would refuse to start the container at all."""
    from dataclasses import replace

    from builder.engine.machine import OPEN_FILES, Machine

    most = Machine(order.host, scene.runner).most_open_files()
    if not most or most >= OPEN_FILES or not order.npus:
        return order
    typer.echo(f"the engine can give a container {most} open files, not {OPEN_FILES}; `drivebuild doctor`", err=True)
    return replace(order, open_files=most)


def _check(scene: _Scene, order: Order, image: Image | None, *, no_build: bool) -> None:
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


def _built(scene: _Scene, order: Order, context: typer.Context) -> Image:
    from builder.cli.build import image as build_image

    typer.echo(f"there is no image {order.image}; building it first")
    words = {"platform": order.platform.name, "variant": order.variant}
    build_image(context, order.model.name, **words)  # type: ignore[arg-type]
    image = scene.engine.image(order.image)
    if image is None:
        raise RunError(f"the build left no image {order.image}")
    return image


def _hand_over(scene: _Scene, order: Order, folder: RunFolder) -> None:
    """Become `docker compose run` on the caller's own terminal. Does not return."""
    from builder.engine.job import start_command
    from builder.engine.launch import PROJECT

    words = list(start_command(order, folder, scene.site, folder.path / PROJECT))
    words[words.index("--detach")] = "--rm"
    if sys.stdin.isatty() and sys.stdout.isatty():
        words.remove("--no-TTY")
    sys.stdout.flush()
    os.execvpe(words[0], words, {**os.environ, **order.environment})  # noqa: S606


def _print_dry_run(scene: _Scene, order: Order) -> None:
    from builder.engine.job import start_command, tailored
    from builder.engine.launch import PROJECT, project_text
    from builder.engine.rundir import RunFolder

    folder = RunFolder(scene.site.runs / order.model.name / order.job.name / "TIME")
    typer.echo(f"$ {shlex.join(start_command(order, folder, scene.site, folder.path / PROJECT))}\n")
    typer.echo(f"{folder.path / PROJECT}:")
    typer.echo(project_text(tailored(scene.config, order, folder)), nl=False)


# --- while it runs ---------------------------------------------------------------------------------


def _published(order: Order) -> float | None:
    from builder.training.compare import published_row

    row = published_row(order.model, order.job, len(order.npus)) if order.npus else None
    return row.step_seconds if row else None


def _attend(folder: RunFolder, order: Order, published: float | None) -> RunResult:
    return attend(folder, order.model, epochs=order.job.epochs, published=published)


def attend(folder: RunFolder, model: ModelRecipe, *, epochs: int, published: float | None) -> RunResult:
    """Show a started run until it ends, hand signals on to it, and return how it ended."""
    from builder.cli.jobview import make_job_view
    from builder.engine.containers import Containers
    from builder.engine.host import connect
    from builder.engine.job import container_name
    from builder.engine.supervise import Signals, Watcher
    from builder.training.progress import Progress

    view = make_job_view(Progress(model, epochs=epochs, published=published))
    watcher = Watcher(Containers(connect()), container_name(folder), folder, feed=view.feed, say=view.say)
    with Signals() as signals:
        try:
            return watcher.watch(signals)
        finally:
            view.close()


def _detach(folder: RunFolder) -> None:
    """Print the run's name, and leave a process behind that waits for its end in silence."""
    typer.echo(folder.name)
    sys.stdout.flush()
    if os.fork():
        return
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    try:
        from builder.engine.containers import Containers
        from builder.engine.host import connect
        from builder.engine.job import container_name
        from builder.engine.supervise import Signals, Watcher

        watcher = Watcher(
            Containers(connect()), container_name(folder), folder, feed=lambda _: None, say=lambda _: None
        )
        with Signals() as signals:
            watcher.watch(signals)
    finally:
        # Nothing of the parent's is to be done twice.
        os._exit(0)


def _end(folder: RunFolder, result: RunResult) -> None:
    from builder.cli.live import human_seconds
    from builder.engine.text import printable

    taken = human_seconds(result.seconds)
    if result.status == "succeeded":
        typer.echo(f"{folder.name} succeeded in {taken}: {printable(result.reason)}", err=True)
        typer.echo(f"{folder.path}", err=True)
        return
    if result.status == "interrupted" or result.exit_code in INTERRUPTED:
        typer.echo(f"{folder.name} interrupted after {taken}: {printable(result.reason)}", err=True)
        raise typer.Exit(result.exit_code if result.exit_code in INTERRUPTED else RunError.exit_code)
    message = f"{folder.name} {result.status} after {taken}: {printable(result.reason)}"
    raise RunError(message, hint=f"{folder.path} has job.log and result.json; `drivebuild runs show {folder.name}`")

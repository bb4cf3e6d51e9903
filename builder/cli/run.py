"""`run`: one job of a model, in its image, from the checks before it to its true end."""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import Lto, ModelName, Pgo, Platform, Variant, variant_of
from builder.cli.order import make_order
from builder.cli.start import attend, end_as, launch_job, make_scene, view_of

if TYPE_CHECKING:
    from builder.cli.start import Scene
    from builder.engine.job import Order
    from builder.engine.rundir import RunFolder

ROOT = Path("/")


class Allocator(StrEnum):
    """What templates/scripts/entrypoint.sh knows."""

    TCMALLOC = "tcmalloc"
    JEMALLOC = "jemalloc"
    NONE = "none"


@app.command()
def run(
    context: typer.Context,
    model: ModelName,
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
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    runtime: Annotated[
        str, typer.Option("--runtime", metavar="ascend", help="Let the Ascend container runtime bring the devices.")
    ] = "",
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable of the job; NAME alone takes the caller's."),
    ] = None,
    allocator: Annotated[
        Allocator | None,
        typer.Option("--allocator", help="Which malloc is preloaded; else what the image was made with."),
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
        variant=variant_of(variant, lto=lto, pgo=pgo),
        runtime=runtime,
        args=tuple(arguments or ()),
        devices=devices,
        environment=[*(env or []), *([f"DRIVEBUILD_ALLOCATOR={allocator.value}"] if allocator else [])],
        memory=memory,
        host=host_root,
    )
    scene, order = make_scene(settings, order)
    if dry_run:
        _print_dry_run(scene, order)
        return
    folder = launch_job(scene, order, context, no_build=no_build)
    if detach:
        _detach(folder)
        return
    result = attend(folder, view_of(order), scene.containers)
    end_as(folder, result)


def _print_dry_run(scene: Scene, order: Order) -> None:
    from builder.engine.job import start_command, tailored
    from builder.engine.launch import PROJECT, project_text
    from builder.engine.rundir import RunFolder

    folder = RunFolder(scene.site.runs / order.model.name / order.job.name / "TIME")
    typer.echo(f"$ {shlex.join(start_command(order, folder, scene.site, folder.path / PROJECT))}\n")
    typer.echo(f"{folder.path / PROJECT}:")
    typer.echo(project_text(tailored(scene.config, order, folder)), nl=False)


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
        from builder.cli.jobview import SilentJobView
        from builder.engine.containers import Containers
        from builder.engine.host import connect

        # A connection of its own: the parent still uses the other.
        attend(folder, SilentJobView(), Containers(connect()))
    finally:
        # Nothing of the parent's is to be done twice.
        os._exit(0)

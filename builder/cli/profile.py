"""`profile`: run an instrumented image, and keep what it says of where the time goes for `--pgo=use`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson, Platform, Toolchain
from builder.errors import RunError, UsageError

if TYPE_CHECKING:
    from builder.engine.profiles import Profile
    from builder.engine.profiling import Merged
    from builder.plan.stage import Plan

ROOT = Path("/")


@app.command()
def profile(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A model's name; see `drivebuild list`. Left out with --list.")
    ] = "",
    platform: Platform = "",
    toolchain: Toolchain = "",
    job: Annotated[
        str, typer.Option("--job", metavar="JOB", help="On a platform with NPUs: what is run, in all its ranks.")
    ] = "train-8p-performance",
    seconds: Annotated[
        int, typer.Option("--seconds", metavar="S", min=1, help="On a CPU: how long the operators are called.")
    ] = 60,
    devices: Annotated[
        str, typer.Option("--devices", metavar="0-3|0,2,5", help="The NPUs that the job gets; the first by default.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="STAGE", help="On a CPU: run the image that was built until this stage.")
    ] = "",
    no_build: Annotated[
        bool, typer.Option("--no-build", help="Stop when an image is missing, and do not build it.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the profiles that are kept; run nothing.")] = False,
    as_json: AsJson = False,
    host_root: Annotated[Path, typer.Option("--host-root", hidden=True)] = ROOT,
) -> None:
    """Run the image of --pgo=instrument, merge its raw profiles, and keep the profile for --pgo=use.

    Every process must end by itself and leave its part; of a run that failed or was killed nothing is kept.
    """
    from builder.engine.profiles import all_profiles

    settings: Settings = context.obj
    if listed:
        _print_list(all_profiles(), as_json=as_json)
        return
    if not model:
        raise UsageError("of which model?", hint="`drivebuild profile --list` lists the profiles that are kept")
    plan = settings.plan(model, platform=platform, variant="pgo-instrument", options={}, toolchain=toolchain)
    _require_compiled(plan)
    merger = _image(context, plan, until="toolchain", no_build=no_build, quiet=as_json)
    ran = _image(context, plan, until=until, no_build=no_build, quiet=as_json)
    start = time.time()
    with tempfile.TemporaryDirectory(prefix="drivebuild-profile-") as name:
        raw, merged = Path(name) / "raw", Path(name) / "merged"
        raw.mkdir()
        merged.mkdir()
        if plan.platform.optimised and plan.platform.optimised.workload == "ops":
            ranks, workload = 1, f"operators for {seconds} s"
            _operators(ran, raw, seconds, quiet=as_json)
        else:
            ranks, workload = _job(context, plan, raw, job, devices, host_root, no_build=no_build), f"job {job}"
        found = _merge(plan, raw, merged, merger, ranks)
        kept = _keep(plan, merged, found, (ran, merger), workload=workload, ranks=ranks, seconds=time.time() - start)
    _print(kept, plan, as_json=as_json)


def _require_compiled(plan: Plan) -> None:
    from builder.plan.optimise import compiled

    if not compiled(plan):
        message = f"nothing of {plan.model.name} is compiled with a profile on {plan.platform.name}"
        raise UsageError(message, hint="`optimised` of a platform names what is")


def _image(context: typer.Context, plan: Plan, *, until: str, no_build: bool, quiet: bool) -> str:
    """Return the name of the plan's image, or of one of its stages; build it where it is missing."""
    from builder.cli.build import image
    from builder.engine.build import default_tag
    from builder.engine.host import connect

    tag = default_tag(plan, until)
    if connect().image(tag) is None:
        words = f"drivebuild image {' '.join(plan.arguments)}{f' --until {until}' if until else ''}"
        if no_build:
            raise RunError(f"there is no image {tag}", hint=f"`{words}` builds it")
        typer.echo(f"there is no image {tag}; building it first", err=True)
        image(
            context,
            plan.model.name,
            platform=plan.platform.name,
            variant=plan.variant,
            toolchain=plan.toolchain,
            until=until,
            progress="json" if quiet else "",
        )
    return tag


def _operators(image: str, raw: Path, seconds: int, *, quiet: bool) -> None:
    from builder.bench.suite import SUITES
    from builder.engine.process import SystemRunner
    from builder.engine.profiling import run_operators

    def show(piece: bytes) -> None:
        if piece and not quiet:
            sys.stderr.write(piece.decode("utf-8", "replace"))

    inside = SUITES["python"].folder
    run_operators(image, inside, raw, seconds=seconds, runner=SystemRunner(), feed=show)


def _job(context: typer.Context, plan: Plan, raw: Path, job: str, devices: str, host: Path, *, no_build: bool) -> int:
    """Run a job of the model in the instrumented image; return how many ranks it has.

    Raises:
        RunError: when it did not succeed: a rank that is killed leaves no profile, and half a profile is none.
    """
    from dataclasses import replace

    from builder.cli.order import make_order
    from builder.cli.start import attend, launch_job, make_scene, view_of
    from builder.engine.profiling import PATTERN, volume

    settings: Settings = context.obj
    order = make_order(
        settings,
        plan.model.name,
        job,
        platform=plan.platform.name,
        variant=plan.variant,
        runtime="",
        args=(),
        devices=devices,
        environment=[f"LLVM_PROFILE_FILE={PATTERN}"],
        memory="",
        host=host,
    )
    scene, order = make_scene(settings, replace(order, image=plan.tag))
    if order.uid != os.getuid():
        os.chown(raw, order.uid, order.gid)
    folder = launch_job(scene, replace(order, volumes=(volume(raw),)), context, no_build=no_build)
    result = attend(folder, view_of(order), scene.containers)
    if result.status != "succeeded":
        message = f"{folder.name} {result.status}: {result.reason}; its profile is discarded"
        raise RunError(message, hint=f"{folder.path} has job.log; every rank must end by itself")
    return max(1, len(order.npus))


def _merge(plan: Plan, raw: Path, merged: Path, merger: str, ranks: int) -> Merged:
    from builder import paths
    from builder.engine.process import SystemRunner
    from builder.engine.profiling import merge
    from builder.plan.optimise import hot

    script = paths.TEMPLATES / "scripts" / "optimised.py"
    return merge(raw, merged, toolchain=merger, script=script, processes=ranks, hot=hot(plan), runner=SystemRunner())


def _keep(
    plan: Plan,
    merged: Path,
    found: Merged,
    images: tuple[str, str],
    *,
    workload: str,
    ranks: int,
    seconds: float,
) -> Profile:
    """Keep a merged profile; `images` are the one that ran and the one that has its compiler."""
    import socket

    from builder import __version__
    from builder.engine.host import connect
    from builder.engine.process import SystemRunner
    from builder.engine.profiles import FILE, Provenance, keep
    from builder.engine.profiling import compiler_in
    from builder.plan.optimise import fingerprint, hot

    image = connect().image(images[0])
    labels = next(stage.inputs["labels"] for stage in plan.stages if stage.name == "image")
    prefix = "drivebuild.source."
    return keep(
        merged / FILE,
        Provenance(
            sha256=found.sha256,
            model=plan.model.name,
            platform=plan.platform.name,
            variant=plan.variant,
            compiler=compiler_in(images[1], SystemRunner()),
            sources={name.removeprefix(prefix): pin for name, pin in labels.items() if name.startswith(prefix)},
            fingerprint=fingerprint(plan),
            workload=workload,
            image=image.id if image else "",
            ranks=ranks,
            processes=found.processes,
            raw=found.raw,
            functions=found.functions,
            ran=found.ran,
            hot=hot(plan),
            seconds=round(seconds, 1),
            when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            host=socket.gethostname(),
            drivebuild=__version__,
        ),
    )


def _print(kept: Profile, plan: Plan, *, as_json: bool) -> None:
    from builder.cli.inspect import print_json

    made = kept.provenance
    if as_json:
        print_json(_data(kept))
        return
    facts = (
        ("profile", kept.sha256),
        ("folder", str(kept.folder)),
        ("compiler", made.compiler.version),
        ("workload", f"{made.workload}, {made.processes} processes, {made.raw} raw profiles"),
        ("functions", f"{made.ran} of {made.functions} ran"),
        ("use", f"drivebuild image {' '.join(plan.arguments).replace('--pgo=instrument', '--pgo=use')}"),
    )
    for key, value in facts:
        typer.echo(f"{typer.style(f'{key:9}', bold=True)} {value}")


def _print_list(kept: tuple[Profile, ...], *, as_json: bool) -> None:
    from builder.cli.inspect import print_json, print_table

    if as_json:
        print_json({"profiles": [_data(each) for each in kept]})
        return
    if not kept:
        typer.echo("no profile is kept; `drivebuild profile MODEL` makes one")
        return
    rows = [
        (
            each.sha256[:12],
            each.provenance.when or "brought",
            each.provenance.model,
            each.provenance.platform,
            each.provenance.workload,
            f"{each.provenance.ran} of {each.provenance.functions}",
        )
        for each in kept
    ]
    print_table(rows, header=("PROFILE", "WHEN", "MODEL", "PLATFORM", "WORKLOAD", "FUNCTIONS RAN"))


def _data(kept: Profile) -> dict[str, object]:
    import msgspec

    return {"folder": str(kept.folder), **msgspec.to_builtins(kept.provenance)}

"""`bench`: variants of an image side by side."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson, Platform
from builder.errors import BuildError, UsageError

if TYPE_CHECKING:
    from builder.bench.containers import Place, Subject
    from builder.bench.measure import Measured
    from builder.bench.suite import Program, Suite
    from builder.plan.stage import Plan

ROUNDS, FAST_ROUNDS = 7, 5
CLOCKS = ("wall", "processor")


@app.command()
def bench(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name; see `drivebuild list`.")],
    variants: Annotated[
        str, typer.Option("--variants", metavar="V,V", help="Variants to compare; the first is the reference.")
    ] = "stock,lto",
    suite: Annotated[
        str, typer.Option("--suite", metavar="S", help="What to run: python (pyperformance, the interpreter alone).")
    ] = "python",
    platform: Platform = "",
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="The stage the images were built until.")] = "",
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="NAME=PATH",
            help="Another interpreter in the first image, such as distribution=/usr/bin/python3.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=0, help="Rounds; 7 by default, 5 with --fast.")
    ] = 0,
    fast: Annotated[bool, typer.Option("--fast", help="A short selection of programs, and fewer rounds.")] = False,
    program: Annotated[
        list[str] | None, typer.Option("--program", metavar="NAME", help="Only this program. May be repeated.")
    ] = None,
    cpu: Annotated[
        str, typer.Option("--cpu", metavar="N", help="The processor to be pinned to; the last by default.")
    ] = "",
    clock: Annotated[
        str, typer.Option("--clock", metavar="C", help="wall, or processor where others use the machine.")
    ] = "wall",
    limit: Annotated[
        int, typer.Option("--limit", metavar="S", min=1, help="Seconds one program may take, each time.")
    ] = 300,
    as_json: AsJson = False,
) -> None:
    """Compare variants inside their images: pinned, in turn, with an interval, and no winner within the noise.

    Containers have no network; what a suite needs beside the images is installed once on this machine, from a lock.
    """
    from builder.bench.suite import find_programs, find_suite

    if clock not in CLOCKS:
        raise UsageError(f"--clock: there is no clock {clock!r}", hint=f"one of: {', '.join(CLOCKS)}")
    settings: Settings = context.obj
    chosen = find_suite(suite)
    programs = find_programs(chosen, tuple(program or ()), fast=fast)
    plans = _plans(settings, model, variants, platform)
    subjects = _subjects(plans, chosen, until, also or [])
    place = _place(settings, chosen, plans[0], subjects, until=until, cpu=cpu, clock=clock, limit=limit)
    count = rounds or (FAST_ROUNDS if fast else ROUNDS)
    before = _load()
    measured = _measure(chosen, programs, subjects, place, count, quiet=as_json)
    around = {
        "suite": chosen.name,
        "model": model,
        "platform": plans[0].platform.name,
        "subjects": {each.name: {"image": each.image, "interpreter": each.interpreter} for each in subjects},
        "rounds": count,
        "cpu": place.cpu,
        "clock": clock,
        "load": [before, _load()],
    }
    _print(measured, subjects[0].name, around, as_json=as_json)


def _plans(settings: Settings, model: str, variants: str, platform: str) -> tuple[Plan, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in variants.split(",") if name.strip()))
    if not names:
        raise UsageError("--variants: no variant is named", hint="such as --variants stock,lto")
    return tuple(settings.plan(model, platform=platform, variant=name, options={}) for name in names)


def _subjects(plans: tuple[Plan, ...], suite: Suite, until: str, also: list[str]) -> tuple[Subject, ...]:
    from builder.bench.containers import Subject
    from builder.engine.build import default_tag

    found = [
        Subject(name=plan.variant, image=default_tag(plan, until), interpreter=suite.interpreter) for plan in plans
    ]
    for text in also:
        name, equals, path = text.partition("=")
        if not (name and equals and path.startswith("/")) or name in (each.name for each in found):
            raise UsageError(f"--also {text!r}: expected another NAME=PATH", hint="PATH is one in the image")
        found.append(Subject(name=name, image=found[0].image, interpreter=path))
    if len(found) < 2:
        raise UsageError("there is nothing to compare with", hint="name two variants, or one and --also NAME=PATH")
    return tuple(found)


def _place(
    settings: Settings,
    suite: Suite,
    plan: Plan,
    subjects: tuple[Subject, ...],
    *,
    until: str,
    cpu: str,
    clock: str,
    limit: int,
) -> Place:
    """Look at the engine and its images first: a missing one is known before anything is installed."""
    from builder.bench.containers import Place
    from builder.engine.host import connect

    engine = connect()
    architecture = ""
    for image in dict.fromkeys(subject.image for subject in subjects):
        found = engine.image(image)
        if found is None:
            variant = next(each.name for each in subjects if each.image == image)
            words = f"drivebuild image {plan.model.name} --platform {plan.platform.name} --variant {variant}"
            raise BuildError(f"there is no image {image}", hint=f"`{words}{until and f' --until {until}'}` builds it")
        architecture = found.architecture
    site = _site(settings, suite, plan, architecture) if suite.locks else None
    return Place(cpu=cpu or _last_processor(), clock=clock, seconds=limit, site=site)


def _site(settings: Settings, suite: Suite, plan: Plan, architecture: str) -> Any:
    from builder.bench.packages import packages_folder
    from builder.bench.suite import lock_of
    from builder.engine.folders import cache_folder
    from builder.engine.process import SystemRunner
    from builder.source.lock import find_uv
    from builder.source.work import environment_of

    series = ".".join(plan.platform.python.version.split(".")[:2])
    network, runner = settings.network(), SystemRunner()
    environment = environment_of(network) | ({"UV_DEFAULT_INDEX": network.index} if network.index else {})

    def run(argv: tuple[str, ...]) -> tuple[int, str]:
        result = runner.run(argv, env=environment)
        return result.code, f"{result.text}\n{result.complaint}"

    return packages_folder(
        lock_of(suite, series), series, architecture, uv=find_uv, cache=cache_folder() / "bench", run=run
    )


def _measure(
    suite: Suite,
    programs: tuple[Program, ...],
    subjects: tuple[Subject, ...],
    place: Place,
    rounds: int,
    *,
    quiet: bool,
) -> Measured:
    from builder.bench.containers import Sample, sample_in, started
    from builder.bench.measure import measure
    from builder.engine.process import SystemRunner

    runner = SystemRunner()
    shown = not quiet and sys.stderr.isatty()

    def tell(number: int, program: Program, subject: Subject) -> None:
        if shown:
            text = f"round {number}/{rounds}  {program.name}  {subject.name}"
            typer.echo(f"\r{text[:79].ljust(79)}", err=True, nl=False)

    with started(subjects, suite, place, runner.run) as ids:

        def take(subject: Subject, program: Program) -> Sample:
            return sample_in(ids[subject.image], subject, program, suite, place, runner.run)

        measured = measure(subjects, programs, rounds, take, tell)
    if shown:
        typer.echo("\r" + " " * 79 + "\r", err=True, nl=False)
    return measured


def _print(measured: Measured, reference: str, around: dict[str, Any], *, as_json: bool) -> None:
    from builder.bench.measure import comparisons
    from builder.bench.report import lines, to_data
    from builder.cli.inspect import print_json

    compared = comparisons(measured, reference)
    if as_json:
        print_json(to_data(measured, compared, around))
        return
    first, last = around["load"]
    typer.echo(
        f"suite {around['suite']}, {around['rounds']} rounds in turn, processor {around['cpu']}, "
        f"{around['clock']} clock, load {first:.1f} to {last:.1f}"
    )
    for line in lines(measured, compared):
        typer.echo(line)


def _load() -> float:
    import os

    return os.getloadavg()[0]


def _last_processor() -> str:
    import os

    return str(max(os.sched_getaffinity(0)))

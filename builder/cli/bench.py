"""`bench`: variants of an image side by side, and allocators."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson, ModelName, Platform
from builder.errors import DrivebuildError, RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.bench.containers import Place, Subject
    from builder.bench.measure import Measured
    from builder.bench.report import Report, SuiteReport
    from builder.bench.suite import Program, Suite
    from builder.cli.benchsides import Facts
    from builder.plan.stage import Plan

ROUNDS, FAST_ROUNDS = 7, 5
CLOCKS = ("wall", "processor")

Variants = Annotated[
    str,
    typer.Option(
        "--variants",
        metavar="V,V",
        help="Variants to compare, lto:NAME with another toolchain; the first is the reference.",
    ),
]
SuiteName = Annotated[
    str,
    typer.Option(
        "--suite",
        metavar="S",
        help="python (pyperformance, the interpreter alone), ops (operators of mmcv and torch), dataloader (the "
        "model's own pipeline on a nuScenes), or all.",
    ),
]
Allocators = Annotated[
    str,
    typer.Option(
        "--allocators",
        metavar="A,A",
        help="none, tcmalloc, jemalloc: each variant with each of them, not for python. By default none for ops; none "
        "and, where the images have it, tcmalloc for dataloader.",
    ),
]
Until = Annotated[str, typer.Option("--until", metavar="STAGE", help="The stage the images were built until.")]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="NAME=PATH",
        help="Another interpreter in the first image, such as distribution=/usr/bin/python3.",
    ),
]
Rounds = Annotated[int, typer.Option("--rounds", metavar="N", min=0, help="Rounds; 7 by default, 5 with --fast.")]
Fast = Annotated[bool, typer.Option("--fast", help="A short selection of programs, and fewer rounds.")]
Only = Annotated[
    list[str] | None, typer.Option("--program", metavar="NAME", help="Only this program. May be repeated.")
]
Cpu = Annotated[
    str,
    typer.Option(
        "--cpu", metavar="N,N", help="Processors to be pinned to; the last by default, the last two for dataloader."
    ),
]
Clock = Annotated[str, typer.Option("--clock", metavar="C", help="wall, or processor where others use the machine.")]
Limit = Annotated[int, typer.Option("--limit", metavar="S", min=1, help="Seconds one program may take, each time.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="nuScenes for dataloader; a small invented one in the cache by default."
    ),
]
Prepared = Annotated[
    Path | None,
    typer.Option(
        "--prepared", metavar="DIR", help="What was converted from --data, one folder a model; PREPARED_ROOT of .env."
    ),
]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page with plots.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the options say, for every suite."""

    until: str
    also: tuple[str, ...]
    allocators: tuple[str, ...]
    programs: tuple[str, ...]
    rounds: int
    fast: bool
    cpu: str
    clock: str
    limit: int
    data: Path | None
    prepared: Path | None
    quiet: bool


@app.command()
def bench(
    context: typer.Context,
    model: ModelName,
    variants: Variants = "stock,lto",
    suite: SuiteName = "python",
    allocators: Allocators = "",
    platform: Platform = "",
    until: Until = "",
    also: Also = None,
    rounds: Rounds = 0,
    fast: Fast = False,
    program: Only = None,
    cpu: Cpu = "",
    clock: Clock = "wall",
    limit: Limit = 300,
    data: Data = None,
    prepared: Prepared = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Compare variants inside their images: pinned, in turn, with an interval, and no winner within the noise.

    Containers have no network; what a suite needs beside the images is installed or made once on this machine.
    """
    from builder.cli.benchsides import make_plans, read_allocators

    if clock not in CLOCKS:
        raise UsageError(f"--clock: there is no clock {clock!r}", hint=f"one of: {', '.join(CLOCKS)}")
    settings: Settings = context.obj
    wish = Wish(
        until=until,
        also=tuple(also or ()),
        allocators=read_allocators(allocators),
        programs=tuple(program or ()),
        rounds=rounds or (FAST_ROUNDS if fast else ROUNDS),
        fast=fast,
        cpu=cpu,
        clock=clock,
        limit=limit,
        data=data,
        prepared=prepared,
        quiet=as_json,
    )
    chosen = _suites(suite, wish)
    plans = make_plans(settings, model, variants, platform)
    if html is not None:
        from builder.web.page import bokeh_script

        # Known to be missing before an hour of measuring, not after it.
        bokeh_script()
    report = _report(settings, plans, chosen, wish)
    _print(report, html, as_json=as_json)
    if report.not_measured:
        names = ", ".join(report.not_measured)
        raise RunError(f"not measured: {names}", hint="the reasons stand in the report; `--suite NAME` runs one alone")


def _suites(name: str, wish: Wish) -> tuple[Suite, ...]:
    from builder.bench.suite import ALL, find_programs, find_suites

    found = find_suites(name)
    if name == ALL and wish.programs:
        raise UsageError("--program: a program belongs to one suite", hint="name the suite with --suite")
    if name != ALL and wish.allocators and not found[0].allocators:
        raise UsageError(f"--allocators: suite {name} has nothing to do with them", hint="--suite ops or dataloader")
    for suite in found:
        find_programs(suite, wish.programs, fast=wish.fast)
    return found


def _report(settings: Settings, plans: tuple[Plan, ...], suites: tuple[Suite, ...], wish: Wish) -> Report:
    """Measure one suite after the other. Of several, one that cannot be measured does not keep the others from it."""
    from builder.bench.machine import describe
    from builder.bench.report import Report
    from builder.cli.benchsides import image_facts, make_subjects
    from builder.engine.process import SystemRunner

    several = len(suites) > 1
    sides = {}
    for suite in suites:
        named = wish.allocators if suite.allocators else ()
        also = () if several and suite.allocators else wish.also
        sides[suite.name] = make_subjects(plans, suite, wish.until, also=also, allocators=named or suite.allocators)
    facts = image_facts(plans, wish.until, SystemRunner().run)
    done: list[SuiteReport] = []
    not_measured: dict[str, str] = {}
    for suite in suites:
        try:
            done.append(_one(settings, suite, plans, sides[suite.name], facts, wish))
        except DrivebuildError as error:
            if not several:
                raise
            not_measured[suite.name] = error.message
    return Report(
        model=plans[0].model.name,
        title=plans[0].model.title,
        platform=plans[0].platform.name,
        machine=describe(),
        suites=tuple(done),
        not_measured=not_measured,
    )


def _one(
    settings: Settings,
    suite: Suite,
    plans: tuple[Plan, ...],
    sides: tuple[Subject, ...],
    facts: Mapping[str, Facts],
    wish: Wish,
) -> SuiteReport:
    from builder.bench.containers import Place
    from builder.bench.measure import comparisons
    from builder.bench.report import SuiteReport
    from builder.bench.suite import find_programs
    from builder.cli.benchdata import data_folders
    from builder.cli.benchsides import processors, site_of, with_facts

    subjects = with_facts(sides, facts, named=bool(wish.allocators), quiet=wish.quiet)
    architecture = next(iter(facts.values()))[0]
    site = site_of(settings, suite, plans[0], architecture) if suite.locks else None
    mounts, data = (
        data_folders(settings, plans[0], data=wish.data, prepared=wish.prepared, say=Line(quiet=wish.quiet).say)
        if suite.data
        else ((), "")
    )
    place = Place(
        cpu=wish.cpu or processors(suite.processors), clock=wish.clock, seconds=wish.limit, site=site, mounts=mounts
    )
    before = os.getloadavg()[0]
    programs = find_programs(suite, wish.programs, fast=wish.fast)
    measured = _measure(suite, programs, subjects, place, wish.rounds, quiet=wish.quiet)
    return SuiteReport(
        suite=suite.name,
        title=suite.title,
        subjects=subjects,
        rounds=wish.rounds,
        cpu=place.cpu,
        clock=wish.clock,
        load=(before, os.getloadavg()[0]),
        data=data,
        measured=measured,
        compared=comparisons(measured, subjects[0].name),
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

    runner, line = SystemRunner(), Line(quiet=quiet)

    def tell(number: int, program: Program, subject: Subject) -> None:
        line.say(f"{suite.name}, round {number}/{rounds}  {program.name}  {subject.name}")

    with started(subjects, suite, place, runner.run) as ids:

        def take(subject: Subject, program: Program) -> Sample:
            return sample_in(ids[subject.image], subject, program, suite, place, runner.run)

        measured = measure(subjects, programs, rounds, take, tell)
    line.clear()
    return measured


class Line:
    """One line on a terminal that says what is being done; nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show another text."""
        if self._shown:
            typer.echo(f"\r{text[:79].ljust(79)}", err=True, nl=False)

    def clear(self) -> None:
        """Leave the terminal as it was."""
        self.say("")
        if self._shown:
            typer.echo("\r", err=True, nl=False)


def _print(report: Report, html: Path | None, *, as_json: bool) -> None:
    from builder.bench.report import lines, to_data
    from builder.cli.inspect import print_json
    from builder.engine.text import printable

    if html is not None:
        from builder.bench.page import render_page
        from builder.cli.results import write_page

        write_page(html, render_page(report))
    if as_json:
        print_json(to_data(report))
        return
    for number, suite in enumerate(report.suites):
        for line in (*([""] if number else ()), *lines(suite)):
            typer.echo(printable(line))
    for name, why in report.not_measured.items():
        typer.echo(f"\nsuite {name}: not measured: {printable(why.splitlines()[0])}")
    if html is not None:
        typer.echo(f"\nwrote {html}")

"""`build-all`: many images on one machine, on when one fails, and one report at the end."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.building import (
    CaBundle,
    Jobs,
    Offline,
    Stored,
    Words,
    check_progress,
    say_choices,
)
from builder.cli.compilecache import CompileCache, compiled_before, parsed
from builder.cli.main import Settings, app
from builder.cli.matrix import Since
from builder.cli.options import AcceptBisheng, AcceptCann, AsJson, Pins, accepted, check_new_file, parse_pins
from builder.cli.push import BuilderName, CacheFrom, CacheTo, FixedTimes, Overwrite, Push, delivery_of
from builder.signals import ends_like_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.engine.delivery import Delivery
    from builder.engine.host import Engine, Facts
    from builder.engine.works import Work
    from builder.fleet.runs import Outcome
    from builder.plan.choose import Chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Many:
    """What the command line says about all builds together."""

    parallel: int | None
    report: Path | None
    dry_run: bool
    delivery: Delivery
    since: str


@app.command("build-all")
def build_all(
    context: typer.Context,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", metavar="M", help="A model; all by default. May be repeated.")
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option("--platform", "-p", metavar="P", help="A platform; each model's own by default. May be repeated."),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="V", help="A variant; stock and lto by default. May be repeated."),
    ] = None,
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="Stop after this stage, in every image.")] = "",
    since: Since = "",
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            metavar="N",
            min=1,
            max=64,
            help="Images at a time; default: one a processor, at most 8.",
        ),
    ] = None,
    jobs: Jobs = None,
    ca_bundle: CaBundle = None,
    pin: Pins = None,
    store: Stored = None,
    offline: Offline = False,
    accept_cann_eula: AcceptCann = False,
    accept_bisheng_eula: AcceptBisheng = False,
    compile_cache: CompileCache = "",
    push: Push = "",
    overwrite: Overwrite = False,
    fixed_times: FixedTimes = False,
    cache_to: CacheTo = None,
    cache_from: CacheFrom = None,
    builder: BuilderName = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the images in the order they would be begun in; build nothing.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write the report: one HTML page, or JSON to a name in .json."),
    ] = None,
    progress: Annotated[
        str, typer.Option("--progress", metavar="plain|rich|json", help="How progress is shown; rich on a terminal.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Build many images on this machine: what they share once, several at a time, and on when one fails."""
    settings: Settings = context.obj
    progress = "json" if as_json else progress
    check_progress(progress)
    words = Words(
        until=until,
        tag="",
        jobs=jobs,
        ca_bundle=ca_bundle,
        sources=None,
        arguments=None,
        store=store,
        offline=offline,
        agreements=accepted(cann=accept_cann_eula, bisheng=accept_bisheng_eula),
        no_cache=False,
        progress=progress,
        compile_cache=parsed(compile_cache, offline=offline, no_cache=False),
    )
    delivery = delivery_of(
        push=push,
        by_digest=False,
        overwrite=overwrite,
        cache_to=cache_to,
        cache_from=cache_from,
        builder=builder,
        offline=offline,
        fixed_times=fixed_times,
    )
    many = _Many(parallel=parallel, report=report, dry_run=dry_run, delivery=delivery, since=since)
    _check_report(report)
    from builder.engine.host import connect
    from builder.plan.choose import choose

    engine = connect()
    facts = _facts(engine, builder)
    chosen = choose(
        settings.catalog(),
        models=model or (),
        platforms=platform or (),
        variants=variant or (),
        pinned=parse_pins(pin),
        architecture=facts.architecture,
    )
    _run(settings, chosen, words, many, engine, facts)


def _facts(engine: Engine, builder: str) -> Facts:
    """Return the engine's facts, with the architecture of the builder where another one builds.

    Raises:
        UsageError: when there is no such builder.
        BuildError: when a remote one does not answer.
    """
    from builder.engine.builders import find_builder
    from builder.engine.process import SystemRunner

    facts, name = engine.facts(), builder or os.environ.get("BUILDX_BUILDER", "")
    found = find_builder(name, SystemRunner()) if name else None
    return replace(facts, architecture=found.architectures[0]) if found and found.architectures else facts


def _check_report(report: Path | None) -> None:
    """Say before hours of building that the report could not be written.

    Raises:
        UsageError: for a folder that is not there, and for a page without Bokeh.
    """
    if report is None:
        return
    check_new_file(report, "--report")
    if report.suffix != ".json":
        from builder.web.page import bokeh_script

        bokeh_script()


def _run(settings: Settings, chosen: Chosen, words: Words, many: _Many, engine: Engine, facts: Facts) -> None:
    from msgspec.structs import replace as replaced

    from builder.cli.buildallend import end
    from builder.cli.buildallworks import (
        changed_since,
        order_works,
        print_order,
        slots_of,
        supplied_work,
        with_stage,
        work_of,
    )
    from builder.engine.process import SystemRunner
    from builder.engine.push import Way

    quiet, runner = words.progress == "json", SystemRunner()
    plans, left_out = with_stage(chosen, words.until)
    if many.since:
        plans, same = changed_since(settings, plans, many.since, facts.architecture)
        left_out |= same
    works = [work_of(settings, plan, words, many.delivery) for plan in plans]
    order = order_works(works, facts.architecture)
    if not quiet:
        _say_first(works, left_out)
    if many.dry_run:
        print_order(works, order, facts.architecture)
        return
    outcome: Outcome | None = None
    try:
        with ends_like_ctrl_c(), ExitStack() as stack:
            way = Way(runner=runner, engine=engine)
            works = [supplied_work(stack, settings, work, words, way=way) for work in works]
            builds = [(work.plan, work.choices) for work in works if work.broken is None]
            secrets = stack.enter_context(compiled_before(words.compile_cache, builds, runner=runner, quiet=quiet))
            works = [_with_secrets(work, secrets) for work in works]
            outcome = _built(works, order, many.parallel or slots_of(facts), words.progress)
            if outcome.interrupted:
                raise KeyboardInterrupt
    finally:
        if outcome is not None:
            # What is done is said in any case, an interrupt's too.
            of_engine = {"architecture": facts.architecture, "engine": f"docker {facts.version}"}
            end(works, replaced(outcome, left_out=left_out, **of_engine), many.report, quiet=quiet)


def _say_first(works: Sequence[Work], left_out: Mapping[str, str]) -> None:
    for why in dict.fromkeys(left_out.values()):
        typer.echo(f"left out, {why}: {', '.join(name for name in left_out if left_out[name] == why)}")
    for work in works:
        if work.broken is None:
            say_choices(work.choices)
            return


def _with_secrets(work: Work, secrets: tuple[tuple[str, Path], ...]) -> Work:
    return replace(work, choices=replace(work.choices, secrets=(*work.choices.secrets, *secrets)))


def _built(works: Sequence[Work], order: Sequence[str], slots: int, progress: str) -> Outcome:
    from builder.cli.buildallview import make_many_view
    from builder.engine.many import build_many
    from builder.engine.works import SystemDoors

    view = make_many_view(progress, works)
    try:
        return build_many(works, order, slots=slots, doors=SystemDoors(), show=view.update)
    finally:
        view.close()

"""What each image of a `build-all` is built from, and the order they are begun in."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from builder.cli.building import Words, choices_of, dockerfile_of, supplied_with, wanted_of
from builder.cli.push import siblings_of
from builder.errors import DrivebuildError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.cli.main import Settings
    from builder.engine.delivery import Delivery
    from builder.engine.host import Facts
    from builder.engine.push import Way
    from builder.engine.works import Work
    from builder.plan.choose import Chosen
    from builder.plan.stage import Plan

__all__ = [
    "changed_since",
    "known_seconds",
    "order_works",
    "print_order",
    "slots_of",
    "supplied_work",
    "with_stage",
    "work_of",
]


def with_stage(chosen: Chosen, until: str) -> tuple[list[Plan], dict[str, str]]:
    """Return the plans that have the stage to stop after, and all that is left out.

    Raises:
        UsageError: when none has it.
    """
    from builder.engine.build import target_of

    left_out = dict(chosen.left_out)
    found = []
    for plan in chosen.plans:
        if until and until not in plan.names:
            left_out[_name(plan)] = f"it has no stage {until!r}"
        else:
            found.append(plan)
    if not found:
        target_of(chosen.plans[0], until)
    return found, left_out


def changed_since(
    settings: Settings, plans: Sequence[Plan], rev: str, architecture: str
) -> tuple[list[Plan], dict[str, str]]:
    """Return the plans whose text or inputs changed between a commit and now, and the others with that reason.

    Raises:
        SourceError: when there is no such commit.
    """
    from builder.cli.matrix import say_past
    from builder.engine.process import SystemRunner
    from builder.render.keys import Digester
    from builder.render.matrix import entries
    from builder.source.catalog import read_templates
    from builder.source.since import key_of, past_of

    templates = read_templates()
    digester = Digester(templates)
    past = past_of(rev, settings.recipes, [key_of(plan) for plan in plans], SystemRunner())
    say_past(past)
    changed = {
        entry.plan.tag
        for entry in entries(plans, digester)
        if entry.architecture == architecture and past.change(entry, digester, templates) in ("added", "changed")
    }
    same = {_name(plan): f"unchanged since {rev}" for plan in plans if plan.tag not in changed}
    return [plan for plan in plans if plan.tag in changed], same


def _name(plan: Plan) -> str:
    return f"{plan.model.name} {plan.flavour}"


def work_of(settings: Settings, plan: Plan, words: Words, delivery: Delivery) -> Work:
    """Return what one image wants; what keeps it from being built is no error of the others."""
    from builder.cli.profiled import with_profile
    from builder.engine.build import target_of
    from builder.engine.works import Work, failed_by

    try:
        plan, profiled = with_profile(settings, plan, "", until=words.until)
        choices = choices_of(settings, plan, words)
    except DrivebuildError as error:
        if isinstance(error, UsageError):
            raise
        return Work(name=_name(plan), plan=plan, broken=failed_by(error))
    wanted = plan.closure(target_of(plan, words.until))
    return Work(
        name=_name(plan),
        plan=plan,
        dockerfile=dockerfile_of(plan),
        choices=replace(choices, contexts=profiled),
        digests={name: choices.asked.digests[name] for name in wanted},
        delivery=delivery,
    )


def supplied_work(stack: ExitStack, settings: Settings, work: Work, words: Words, *, way: Way) -> Work:
    """Return an image's work with all its build is handed: before anything is compiled, so that what lacks is said."""
    from builder.cli.foreign import ensure_bases
    from builder.cli.supply import supplied
    from builder.engine.delivery import prepared
    from builder.engine.works import failed_by

    if work.broken is not None:
        return work
    engine, runner = way.engine, way.runner
    wanted = wanted_of(work.choices, words)
    siblings = siblings_of(settings, work.plan) if work.delivery.cache_from else ()
    try:
        supply = stack.enter_context(supplied(settings, work.plan, wanted, engine=engine, runner=runner))
        if not words.offline:
            ensure_bases(settings, work.plan, engine=engine, runner=runner, quiet=wanted.quiet)
        given = supplied_with(work.choices, supply)
        choices, cache_to = prepared(work.plan, given, work.delivery, way=way, siblings=siblings)
    except UsageError:
        raise
    except DrivebuildError as error:
        return replace(work, broken=failed_by(error))
    return replace(work, choices=choices, cache_to=cache_to)


def order_works(works: Sequence[Work], architecture: str) -> tuple[str, ...]:
    """Return the names of images in the order to begin them in; what was never timed counts as its recipe's guess."""
    from builder.fleet.schedule import Stage, order_of

    seconds = known_seconds(works, architecture)
    guesses = {
        digest: stage.minutes * 60.0 or 1.0
        for work in works
        for stage in work.plan.stages
        if (digest := work.digests.get(stage.name))
    }
    stages = {
        work.name: tuple(
            Stage(digest=digest, seconds=seconds.get(digest, guesses[digest])) for digest in work.digests.values()
        )
        for work in works
    }
    return order_of(stages)


def known_seconds(works: Sequence[Work], architecture: str) -> dict[str, float]:
    """Return by digest what stages took when they last ran as a whole, as far as somebody knows."""
    from builder.engine.timings import read_timings

    timings = read_timings()
    found: dict[str, float] = {}
    for work in works:
        for stage, digest in work.digests.items():
            platform = work.plan.platform.name
            known = timings.seconds(digest, platform=platform, stage=stage, architecture=architecture)
            if known is not None:
                found[digest] = known
    return found


def slots_of(facts: Facts) -> int:
    """Return how many images to build at a time where nobody says: one for each processor, up to MOST."""
    import os

    from builder.engine.many import MOST

    return max(1, min(MOST, facts.processors or os.cpu_count() or 1))


def print_order(works: Sequence[Work], order: Sequence[str], architecture: str) -> None:
    """Print the images in their order, with what each adds to those before it."""
    from builder.cli.inspect import print_table
    from builder.fleet.words import human_seconds

    if not order:
        typer.echo("nothing to build")
        return
    by_name = {work.name: work for work in works}
    seconds = known_seconds(works, architecture)
    seen: set[str] = set()
    rows = []
    for name in order:
        stages = by_name[name].digests
        fresh = {digest for digest in stages.values() if digest not in seen}
        seen |= fresh
        known = sum(seconds.get(digest, 0.0) for digest in fresh)
        rows.append((name, str(len(stages)), str(len(fresh)), human_seconds(known) if known else "not known"))
    print_table(rows, header=("IMAGE", "STAGES", "NEW IN IT", "SECONDS OF THE NEW, WHERE NOTHING IS CACHED"))

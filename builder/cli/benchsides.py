"""What `bench` compares: variants and allocators as subjects, where they are measured, and with which packages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from builder.cli.main import Settings
from builder.errors import BuildError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from builder.bench.containers import Run, Subject
    from builder.bench.suite import Suite
    from builder.plan.stage import Plan

__all__ = ["image_facts", "make_plans", "make_subjects", "processors", "read_allocators", "site_of", "with_facts"]

Facts = tuple[str, frozenset[str]]
"""An image's architecture, and the names of what lies in its /opt/drivebuild."""


def make_plans(settings: Settings, model: str, variants: str, platform: str) -> tuple[Plan, ...]:
    """Return a plan for each variant; `lto:NAME` is that of another compiler.

    Raises:
        UsageError: when none is named.
        PlanError: for a variant or toolchain that does not exist here.
    """
    names = tuple(dict.fromkeys(name.strip() for name in variants.split(",") if name.strip()))
    if not names:
        raise UsageError("--variants: no variant is named", hint="such as --variants stock,lto")
    plans = {}
    for name in names:
        variant, _, toolchain = name.partition(":")
        plan = settings.plan(model, platform=platform, variant=variant, options={}, toolchain=toolchain)
        # The platform's own compiler, named or not, is one side.
        plans[plan.tag] = plan
    return tuple(plans.values())


def read_allocators(text: str) -> tuple[str, ...]:
    """Return the allocators that an option names; none, if it is empty.

    Raises:
        UsageError: for one that there is not.
    """
    from builder.bench.containers import ALLOCATORS
    from builder.recipe.suggest import one_of

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in ALLOCATORS:
            raise UsageError(f"--allocators: there is no {name!r}", hint=one_of(name, tuple(ALLOCATORS)))
    return names


def image_facts(plans: Sequence[Plan], until: str, run: Run) -> Mapping[str, Facts]:
    """Look at every variant's image: a missing one is known before anything is installed.

    Raises:
        BuildError: when there is no engine, or no such image.
    """
    from builder.engine.build import default_tag
    from builder.engine.host import connect

    engine = connect()
    found: dict[str, Facts] = {}
    for plan in plans:
        image = default_tag(plan, until)
        known = engine.image(image)
        if known is None:
            compiler = f" --toolchain {plan.toolchain}" if plan.toolchain else ""
            words = (
                f"drivebuild image {plan.model.name} --platform {plan.platform.name} --variant {plan.variant}{compiler}"
            )
            raise BuildError(f"there is no image {image}", hint=f"`{words}{until and f' --until {until}'}` builds it")
        reply = run(
            ("docker", "run", "--rm", "--network", "none", "--entrypoint", "ls", image, "-1", "/opt/drivebuild")
        )
        # An image of an early stage has no such folder.
        found[image] = (known.architecture, frozenset(reply.text.split() if reply.code == 0 else ()))
    return found


def make_subjects(
    plans: Sequence[Plan], suite: Suite, until: str, *, also: Sequence[str], allocators: Sequence[str]
) -> tuple[Subject, ...]:
    """Return what is compared, the reference first: each variant, with each allocator.

    Raises:
        UsageError: when that is one thing alone, or a further interpreter is named wrongly.
    """
    from builder.bench.containers import Subject
    from builder.engine.build import default_tag

    found: list[Subject] = []
    for plan in plans:
        image = default_tag(plan, until)
        for each in allocators or ("",):
            side = f"{plan.variant}:{plan.toolchain}" if plan.toolchain else plan.variant
            name = side if each in ("", "none") else f"{side}+{each}"
            found.append(Subject(name=name, image=image, interpreter=suite.interpreter, allocator=each))
    for text in also:
        name, equals, path = text.partition("=")
        if not (name and equals and path.startswith("/")) or name in (each.name for each in found):
            raise UsageError(f"--also {text!r}: expected another NAME=PATH", hint="PATH is one in the image")
        first = found[0]
        found.append(Subject(name=name, image=first.image, interpreter=path, allocator=first.allocator))
    if len(found) < 2:
        hint = "name two variants, or one and --also NAME=PATH"
        raise UsageError(
            "there is nothing to compare with", hint=hint + (" or --allocators A,B" * bool(suite.allocators))
        )
    return tuple(found)


def with_facts(
    subjects: Sequence[Subject], facts: Mapping[str, Facts], *, named: bool, quiet: bool
) -> tuple[Subject, ...]:
    """Return the subjects whose allocator is in their image, with what the image has.

    Raises:
        BuildError: when an allocator is missing that was `named`, or too few subjects are left.
    """
    import msgspec

    from builder.bench.containers import ALLOCATORS, ENTRYPOINT

    kept: list[Subject] = []
    for subject in subjects:
        _, files = facts[subject.image]
        library = ALLOCATORS.get(subject.allocator, "").rpartition("/")[2]
        if library and library not in files:
            said = f"{subject.image} has no {subject.allocator}"
            if named:
                hint = "a recipe with `tcmalloc: true` brings it, in the stage `image`; --allocators names others"
                raise BuildError(said, hint=hint)
            if not quiet:
                typer.echo(f"note: {said}; left out", err=True)
            continue
        through = bool(subject.allocator) and ENTRYPOINT.rpartition("/")[2] in files
        kept.append(msgspec.structs.replace(subject, entrypoint=through))
    if len(kept) < 2:
        raise BuildError(
            "there is nothing to compare with", hint="name two variants, or build an image with an allocator"
        )
    return tuple(kept)


def processors(count: int) -> str:
    """Return the last processors that this process may use, as docker takes them."""
    known = sorted(os.sched_getaffinity(0))
    return ",".join(str(number) for number in known[-count:])


def site_of(settings: Settings, suite: Suite, plan: Plan, architecture: str) -> Path:
    """Return the folder of a suite's packages, installed if need be."""
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

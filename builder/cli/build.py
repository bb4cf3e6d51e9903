"""`image` and `base`: from a recipe to an image on this machine's engine."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.buildview import print_dry_run, print_json_record, print_record
from builder.cli.compilecache import CompileCache, compiled_before, parsed
from builder.cli.main import Settings, app
from builder.cli.options import (
    AcceptBisheng,
    AcceptCann,
    Lto,
    Options,
    Pgo,
    Pins,
    Platform,
    Profile,
    Toolchain,
    Variant,
    accepted,
    parse_options,
    parse_pins,
    variant_of,
)
from builder.cli.profiled import with_profile
from builder.cli.push import Push, push_image, pushes_to
from builder.errors import UsageError
from builder.signals import ends_like_ctrl_c

if TYPE_CHECKING:
    from builder.engine.build import Choices
    from builder.engine.compilecache import Folder, Server
    from builder.engine.record import BuildRecord
    from builder.plan.stage import Plan

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name; see `drivebuild list`.")]

CaBundle = Annotated[
    Path | None, typer.Option("--ca-bundle", metavar="FILE", help="Certificates of a proxy; they reach no layer.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME=DIR", help="A local folder or git repository in place of a source."),
]
BuildArguments = Annotated[
    list[str] | None, typer.Option("--build-arg", metavar="NAME=VALUE", help="A value for an ARG of the Dockerfile.")
]
Stored = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="Take every source from this store; fetch what it lacks first."),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="No network at all: everything comes from the store, or nothing is built.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """What the command line says about a build, beside the image it names."""

    until: str
    tag: str
    jobs: int | None
    ca_bundle: Path | None
    sources: list[str] | None
    arguments: list[str] | None
    store: Path | None
    offline: bool
    agreements: tuple[str, ...]
    no_cache: bool
    progress: str
    compile_cache: Folder | Server | None = None
    push: str = ""


@app.command()
def image(
    context: typer.Context,
    model: Model,
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    platform: Platform = "",
    option: Options = None,
    until: Annotated[
        str, typer.Option("--until", metavar="STAGE", help="Stop after this stage; see `drivebuild plan`.")
    ] = "",
    tag: Annotated[str, typer.Option("--tag", metavar="T", help="Another name for the image.")] = "",
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", min=1, help="Compile jobs at a time; default: all processors.")
    ] = None,
    ca_bundle: CaBundle = None,
    source: Sources = None,
    build_arg: BuildArguments = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages and the command; build nothing.")
    ] = False,
    pin: Pins = None,
    toolchain: Toolchain = "",
    profile: Profile = "",
    store: Stored = None,
    offline: Offline = False,
    accept_cann_eula: AcceptCann = False,
    accept_bisheng_eula: AcceptBisheng = False,
    compile_cache: CompileCache = "",
    push: Push = "",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every stage again.")] = False,
    progress: Annotated[
        str, typer.Option("--progress", metavar="plain|rich|json", help="How progress is shown; rich on a terminal.")
    ] = "",
) -> None:
    """Build the image of a model."""
    settings: Settings = context.obj
    _check_progress(progress)
    chosen = variant_of(variant, lto=lto, pgo=pgo)
    options, pins = parse_options(option), parse_pins(pin)
    plan = settings.plan(model, platform=platform, variant=chosen, options=options, pinned=pins, toolchain=toolchain)
    plan, profiled = with_profile(settings, plan, profile, until=until)
    words = _Words(
        until=until,
        tag=tag,
        jobs=jobs,
        ca_bundle=ca_bundle,
        sources=source,
        arguments=build_arg,
        store=store,
        offline=offline,
        agreements=accepted(cann=accept_cann_eula, bisheng=accept_bisheng_eula),
        no_cache=no_cache,
        progress=progress,
        compile_cache=parsed(compile_cache, offline=offline, no_cache=no_cache),
        push=pushes_to(push, offline=offline),
    )
    choices, dockerfile = replace(_choices(settings, plan, words), contexts=profiled), _dockerfile(plan)
    if dry_run:
        from builder.engine.build import check_arguments

        check_arguments(dockerfile, choices)
        print_dry_run(plan, choices, dockerfile)
        return
    record = _build(settings, plan, dockerfile, choices, words)
    if progress == "json":
        print_json_record(record)
    else:
        print_record(record)


def _choices(settings: Settings, plan: Plan, words: _Words) -> Choices:
    from builder.engine.build import Choices
    from builder.engine.local import local_sources
    from builder.engine.process import SystemRunner
    from builder.engine.trust import ca_bundle, proxy_names

    return Choices(
        until=words.until,
        tag=words.tag,
        jobs=words.jobs,
        ca_bundle=ca_bundle(words.ca_bundle or settings.config().ca_bundle, os.environ),
        sources=local_sources(plan, words.sources or (), SystemRunner()),
        arguments=dict(_pair(text) for text in words.arguments or ()),
        proxies=() if words.offline else proxy_names({**os.environ, **settings.network().proxies}),
        no_cache=words.no_cache,
        offline=words.offline,
        retry=_retry(plan, settings, words),
    )


def _dockerfile(plan: Plan) -> str:
    from builder.render.dockerfile import render_dockerfile
    from builder.source.catalog import read_templates

    return render_dockerfile(plan, read_templates())


def _check_progress(progress: str) -> None:
    from builder.recipe.suggest import one_of

    known = ("plain", "rich", "json")
    if progress and progress not in known:
        raise UsageError(f"--progress: there is no {progress!r}", hint=one_of(progress, known))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--build-arg {text!r}: expected NAME=VALUE")
    return name, value


def _retry(plan: Plan, settings: Settings, given: _Words) -> str:
    """Return the command line that makes the same image, in the folder where this one was typed.

    Left out are --until, which the caller adds; --tag, which is the whole image's and not a stage's; and --no-cache,
    which would run again what has succeeded.
    """
    words = ["drivebuild"]
    for folder in settings.recipes:
        words += ["--recipes", str(folder)]
    if settings.config_file:
        words += ["--config", str(settings.config_file)]
    words += ["image", *plan.arguments]
    for flag, value in (("--jobs", given.jobs), ("--ca-bundle", given.ca_bundle), ("--store", given.store)):
        words += [flag, str(value)] if value else []
    if given.compile_cache:
        words += ["--compile-cache", given.compile_cache.shown]
    words += ["--offline"] if given.offline else []
    words += [f"--accept-{name}-eula" for name in given.agreements]
    for flag, texts in (("--source", given.sources), ("--build-arg", given.arguments)):
        for text in texts or ():
            words += [flag, text]
    return shlex.join(words)


def _build(settings: Settings, plan: Plan, dockerfile: str, choices: Choices, words: _Words) -> BuildRecord:
    from builder.cli.live import Say, make_view
    from builder.cli.supply import Wanted, supplied
    from builder.engine.base import ensure_base
    from builder.engine.build import build, check_arguments, target_of
    from builder.engine.host import connect
    from builder.engine.process import SystemRunner

    # Wrong words are said before anything is asked of the engine.
    target_of(plan, choices.until)
    check_arguments(dockerfile, choices)
    engine, runner = connect(), SystemRunner()
    quiet = words.progress == "json"
    if not quiet:
        _say_choices(choices)
    wanted = Wanted(
        store=words.store,
        offline=words.offline,
        agreements=words.agreements,
        until=words.until,
        replaced={item.stage for item in choices.sources},
        quiet=quiet,
    )
    with ends_like_ctrl_c(), supplied(settings, plan, wanted, engine=engine, runner=runner) as supply:
        if not choices.offline:
            mirror = settings.network().mirror_of(plan.platform.system)
            ensure_base(plan.platform, engine=engine, runner=runner, say=Say(quiet=quiet), mirror=mirror)
        given = replace(
            choices,
            contexts=(*choices.contexts, *supply.contexts),
            images=supply.images,
            secrets=supply.secrets,
            environment=dict(supply.environment),
            arguments={**choices.arguments, **dict(supply.arguments)},
        )
        with compiled_before(words.compile_cache, plan, given, runner=runner, quiet=quiet) as secrets:
            given = replace(given, secrets=(*given.secrets, *secrets))
            view = make_view(words.progress)
            try:
                record = build(plan, dockerfile, given, runner=runner, engine=engine, observe=view.update)
            finally:
                view.close()
        if words.push:
            push_image(words.push, plan, dockerfile, given, runner=runner, engine=engine, json=quiet)
        return record


def _say_choices(choices: Choices) -> None:
    if choices.ca_bundle:
        typer.echo(
            f"certificates for the build: {choices.ca_bundle.path} ({choices.ca_bundle.why}); they reach no layer"
        )
    if choices.proxies:
        typer.echo(f"proxy settings for the build: {', '.join(choices.proxies)}")
    for source in choices.sources:
        typer.echo(f"{source.stage} is {source.note}")
    for name, value in choices.arguments.items():
        typer.echo(f"build argument {name}={value}: the image is not the recipe's own")


@app.command()
def base(
    context: typer.Context,
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="A platform whose base drivebuild makes itself.")],
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make it again, with today's packages.")] = False,
) -> None:
    """Make a platform's base image from the distribution's packages."""
    from builder.cli.live import Say
    from builder.engine.base import ensure_base, make_base
    from builder.engine.host import connect
    from builder.engine.process import SystemRunner
    from builder.plan.make import known

    settings: Settings = context.obj
    wanted = known(settings.catalog().platforms, platform, "platform")
    engine, runner, say = connect(), SystemRunner(), Say()
    mirror = settings.network().mirror_of(wanted.system)
    if rebuild or wanted.base.bootstrap is None:
        make_base(wanted, runner=runner, say=say, mirror=mirror)
        made = True
    else:
        made = ensure_base(wanted, engine=engine, runner=runner, say=say, mirror=mirror)
    typer.echo(f"{wanted.base.image} {'made' if made else 'is there already; --rebuild makes it again'}")

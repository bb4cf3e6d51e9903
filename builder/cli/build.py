"""`image` and `base`: from a recipe to an image on this machine's engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.building import (
    BuildArguments,
    CaBundle,
    Jobs,
    NoCache,
    Offline,
    Sources,
    Stored,
    Words,
    check_progress,
    choices_of,
    dockerfile_of,
    say_choices,
    supplied_with,
    wanted_of,
)
from builder.cli.buildview import print_dry_run, print_forecast, print_json_record, print_record
from builder.cli.compilecache import CompileCache, compiled_before, parsed
from builder.cli.foreign import ForArchitecture, NoCross, ensure_bases, for_architecture
from builder.cli.main import Settings, app
from builder.cli.options import (
    AcceptBisheng,
    AcceptCann,
    Lto,
    ModelName,
    Options,
    Pgo,
    Pins,
    Platform,
    Profile,
    Toolchain,
    Variant,
    accepted,
    asked_architecture,
    parse_options,
    parse_pins,
    variant_of,
)
from builder.cli.profiled import with_profile
from builder.cli.push import (
    Attest,
    BuilderName,
    ByDigest,
    CacheFrom,
    CacheTo,
    FixedTimes,
    Overwrite,
    Push,
    PushedFile,
    check_delivered,
    check_pushed_file,
    delivery_of,
    print_delivered,
    print_delivery,
    say_unread,
    siblings_of,
    write_pushed,
)
from builder.errors import UsageError
from builder.signals import ends_like_ctrl_c

if TYPE_CHECKING:
    from builder.engine.build import Choices
    from builder.engine.delivery import Delivered, Delivery
    from builder.engine.forecast import Forecast
    from builder.engine.record import BuildRecord
    from builder.engine.state import BuildState
    from builder.plan.stage import Plan


@app.command()
def image(
    context: typer.Context,
    model: ModelName,
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    platform: Platform = "",
    option: Options = None,
    until: Annotated[
        str, typer.Option("--until", metavar="STAGE", help="Stop after this stage; see `drivebuild plan`.")
    ] = "",
    tag: Annotated[str, typer.Option("--tag", metavar="T", help="Another name for the image.")] = "",
    jobs: Jobs = None,
    ca_bundle: CaBundle = None,
    source: Sources = None,
    build_arg: BuildArguments = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages and the command; build nothing.")
    ] = False,
    pin: Pins = None,
    toolchain: Toolchain = "",
    arch: ForArchitecture = "",
    no_cross: NoCross = False,
    profile: Profile = "",
    store: Stored = None,
    offline: Offline = False,
    accept_cann_eula: AcceptCann = False,
    accept_bisheng_eula: AcceptBisheng = False,
    compile_cache: CompileCache = "",
    push: Push = "",
    by_digest: ByDigest = False,
    overwrite: Overwrite = False,
    fixed_times: FixedTimes = False,
    pushed: PushedFile = None,
    cache_to: CacheTo = None,
    cache_from: CacheFrom = None,
    builder: BuilderName = "",
    attest: Attest = "",
    no_cache: NoCache = False,
    progress: Annotated[
        str, typer.Option("--progress", metavar="plain|rich|json", help="How progress is shown; rich on a terminal.")
    ] = "",
) -> None:
    """Build the image of a model."""
    settings: Settings = context.obj
    check_progress(progress)
    chosen = variant_of(variant, lto=lto, pgo=pgo)
    options, pins = parse_options(option), parse_pins(pin)
    plan = settings.plan(
        model,
        platform=platform,
        variant=chosen,
        options=options,
        architecture=asked_architecture(arch),
        pinned=pins,
        toolchain=toolchain,
    )
    plan, profiled = with_profile(settings, plan, profile, until=until)
    quiet = progress == "json"
    plan = for_architecture(settings, plan, arch, builder=builder, no_cross=no_cross, offline=offline, quiet=quiet)
    words = Words(
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
        no_cross=no_cross,
    )
    delivery = delivery_of(
        push=push,
        by_digest=by_digest,
        overwrite=overwrite,
        cache_to=cache_to,
        cache_from=cache_from,
        builder=builder,
        offline=offline,
        attest=attest,
        fixed_times=fixed_times,
    )
    check_pushed_file(pushed, push)
    choices, dockerfile = replace(choices_of(settings, plan, words), contexts=profiled), dockerfile_of(plan)
    if dry_run:
        from builder.engine.build import check_arguments

        check_arguments(dockerfile, choices)
        choices, target, places = _for_dry_run(settings, plan, choices, delivery)
        print_dry_run(plan, choices, dockerfile)
        print_delivery(target, places)
        return
    done = _build(settings, plan, dockerfile, choices, words, delivery)
    record = done.record
    write_pushed(done, pushed)
    if progress == "json":
        print_json_record(record)
    else:
        print_record(record)
    check_delivered(done)


def _for_dry_run(
    settings: Settings, plan: Plan, choices: Choices, delivery: Delivery
) -> tuple[Choices, str, tuple[str, ...]]:
    """Return the choices, where the image would be pushed to, and the caches that would be written.

    Of the engine only what a builder, caches or a push by digest need is asked.
    """
    from builder.engine.push import Way, push_target

    places, alone = tuple[str, ...](), None
    if delivery.builder or delivery.cache_from or delivery.cache_to or delivery.by_digest:
        from builder.engine.delivery import prepared
        from builder.engine.host import connect
        from builder.engine.process import SystemRunner

        way = Way(runner=SystemRunner(), engine=connect())
        choices, places = prepared(plan, choices, delivery, way=way, siblings=siblings_of(settings, plan))
        alone = way.engine.facts() if delivery.by_digest else None
    return choices, push_target(delivery.push, plan, choices, alone=alone).name if delivery.push else "", places


def _build(
    settings: Settings, plan: Plan, dockerfile: str, choices: Choices, words: Words, delivery: Delivery
) -> Delivered:
    from builder.cli.supply import supplied
    from builder.engine.build import build, check_arguments, default_tag, target_of
    from builder.engine.buildlock import alone_with
    from builder.engine.compilecache import Folder
    from builder.engine.delivery import deliver, prepared
    from builder.engine.host import connect
    from builder.engine.process import SystemRunner
    from builder.engine.push import Way

    # Wrong words are said before anything is asked of the engine.
    target_of(plan, choices.until)
    check_arguments(dockerfile, choices)
    engine, runner = connect(), SystemRunner()
    quiet = words.progress == "json"
    if not quiet:
        say_choices(choices)
    wanted = wanted_of(choices, words)
    alone = alone_with(choices.tag or default_tag(plan, choices.until), _say_waiting)
    with ends_like_ctrl_c(), alone, supplied(settings, plan, wanted, engine=engine, runner=runner) as supply:
        if not choices.offline:
            ensure_bases(settings, plan, engine=engine, runner=runner, quiet=quiet)
        way = Way(runner=runner, engine=engine, say=lambda line: typer.echo(line, err=quiet))
        siblings = siblings_of(settings, plan) if delivery.cache_from else ()
        given, cache_to = prepared(plan, supplied_with(choices, supply), delivery, way=way, siblings=siblings)
        if given.elsewhere and isinstance(words.compile_cache, Folder):
            hint = "a server of compiles serves any builder: --compile-cache http://… or redis://…; or --cache-from"
            raise UsageError("--compile-cache DIR goes into this engine's cache, and not into a builder's", hint=hint)
        with compiled_before(words.compile_cache, [(plan, given)], runner=runner, quiet=quiet) as secrets:
            given = replace(given, secrets=(*given.secrets, *secrets))
            attempt = _shown(partial(build, plan, dockerfile, runner=runner, engine=engine), plan, words.progress)
            done = deliver(plan, dockerfile, given, delivery, cache_to, way=way, attempt=attempt)
        print_delivered(done, json=quiet)
        return done


def _shown(build: Callable[..., BuildRecord], plan: Plan, progress: str) -> Callable[[Choices], BuildRecord]:
    """Return a build that is watched while it lasts."""
    from builder.cli.live import make_view

    def attempt(tried: Choices) -> BuildRecord:
        view, unread = make_view(progress), list[tuple[str, str]]()

        def observe(state: BuildState, now: float) -> None:
            unread[:] = state.unread
            view.update(state, now)

        def foretell(forecast: Forecast) -> None:
            print_forecast(plan, tried, forecast, as_json=progress == "json")

        try:
            return build(tried, observe=observe, foretell=foretell)
        finally:
            view.close()
            say_unread(unread, len(tried.cache_from))

    return attempt


def _say_waiting() -> None:
    typer.echo("another drivebuild is building this image; this one waits until it has ended", err=True)


@app.command()
def base(
    context: typer.Context,
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="A platform whose base drivebuild makes itself.")],
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make it again, with today's packages.")] = False,
    arch: Annotated[str, typer.Option("--arch", metavar="A", help="For x86_64 or aarch64 under emulation.")] = "",
) -> None:
    """Make a platform's base image from the distribution's packages."""
    from builder.cli.live import Say
    from builder.engine.base import ensure_base, make_base
    from builder.engine.host import connect
    from builder.engine.process import SystemRunner
    from builder.plan.bootstrap import base_name
    from builder.plan.make import known

    settings: Settings = context.obj
    wanted = known(settings.catalog().platforms, platform, "platform")
    engine, runner, say = connect(), SystemRunner(), Say()
    mirror = settings.network().mirror_of(wanted.system)
    foreign = asked_architecture(arch)
    foreign = "" if foreign == engine.facts().architecture else foreign
    if rebuild or wanted.base.bootstrap is None:
        make_base(wanted, runner=runner, say=say, mirror=mirror, architecture=foreign)
        made = True
    else:
        made = ensure_base(wanted, engine=engine, runner=runner, say=say, mirror=mirror, architecture=foreign)
    image = base_name(wanted.base.image, foreign)
    typer.echo(f"{image} {'made' if made else 'is there already; --rebuild makes it again'}")

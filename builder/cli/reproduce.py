"""`reproduce`: an image is built once more from what it was built from, and laid beside the first, file by file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.building import CaBundle, Jobs, Offline, Sources, Stored, Words, choices_of, supplied_with, wanted_of
from builder.cli.live import human_bytes
from builder.cli.main import Settings, app
from builder.cli.options import AcceptBisheng, AcceptCann, AsJson, Platform, Variant, accepted, check_new_file
from builder.cli.profiled import with_profile
from builder.cli.push import BuilderName
from builder.errors import BuildError, DriftError, UsageError
from builder.signals import ends_like_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.engine.command import Choices
    from builder.engine.host import Engine
    from builder.engine.push import Way
    from builder.engine.snapshot import Snapshot
    from builder.engine.state import BuildState
    from builder.plan.stage import Plan
    from builder.reproduce.compare import Comparison

SUFFIX = "-reproduced"
ROOM = 1.5
"""Free bytes for each byte of the image: it is stored once more, and what its steps download beside it."""


@app.command()
def reproduce(
    context: typer.Context,
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|MODEL", help="An image that was built here, or its model; an archive, too, to compare."
        ),
    ],
    platform: Platform = "",
    variant: Variant = "",
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="With MODEL: the image of this stage.")] = "",
    against: Annotated[
        str,
        typer.Option(
            "--against", metavar="IMAGE|FILE", help="Build nothing; compare with this image, or with an archive of one."
        ),
    ] = "",
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage", metavar="STAGE", help="Run only this stage again, and what needs it; all of them by default."
        ),
    ] = None,
    digests: Annotated[
        bool, typer.Option("--digests", help="Build nothing; print the digest of each layer's content.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build nothing; say which stages would run, and the command.")
    ] = False,
    builder: BuilderName = "",
    keep: Annotated[bool, typer.Option("--keep", help=f"Keep the second image, as IMAGE{SUFFIX}.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write every difference to this file, as JSON.")
    ] = None,
    jobs: Jobs = None,
    ca_bundle: CaBundle = None,
    source: Sources = None,
    store: Stored = None,
    offline: Offline = False,
    accept_cann_eula: AcceptCann = False,
    accept_bisheng_eula: AcceptBisheng = False,
    as_json: AsJson = False,
) -> None:
    """Build an image again without the cache, and show by file what is not the same, and why.

    It is built from the Dockerfile, pins and arguments that its record has, whatever the recipes say today. Exit code 0
    when both are equal but for what docs/reproducible.md names, 8 when not.
    """
    from builder.cli.reproduceread import compared, recipes_apart, side_of, source_of
    from builder.cli.reproduceview import as_data, print_comparison, print_digests
    from builder.engine.host import connect

    settings: Settings = context.obj
    if report is not None:
        check_new_file(report, "--report")
    engine = connect()
    tag = _tag(settings, image, platform=platform, variant=variant, until=until)
    if digests:
        print_digests(tag, side_of(source_of(engine, tag), engine), as_json=as_json)
        return
    words = Words(
        until="",
        tag="",
        jobs=jobs,
        ca_bundle=ca_bundle,
        sources=source,
        arguments=None,
        store=store,
        offline=offline,
        agreements=accepted(cann=accept_cann_eula, bisheng=accept_bisheng_eula),
        no_cache=not stage,
        progress="json" if as_json else "",
    )
    with ends_like_ctrl_c():
        if against:
            if note := recipes_apart(engine, tag, against):
                typer.echo(f"note: {note}", err=True)
            found = compared(engine, tag, against, plan=None)
        elif dry_run:
            _foretell(settings, engine, tag, words, tuple(stage or ()), builder=builder)
            return
        else:
            found = _again(settings, engine, tag, words, tuple(stage or ()), builder=builder, keep=keep)
    if report is not None:
        _write(report, as_data(found))
    if as_json:
        from builder.cli.inspect import print_json

        print_json(as_data(found))
    else:
        print_comparison(found)
    if not found.same:
        raise DriftError(
            f"{found.images[1]} is not the same as {found.images[0]}: {found.undocumented} differences without a reason"
            " that is documented",
            hint="docs/reproducible.md says what each reason means; --report FILE has all of them",
        )


def _tag(settings: Settings, image: str, *, platform: str, variant: str, until: str) -> str:
    """Return the image that a model's name or an image's own means.

    Raises:
        UsageError: options of a plan for something that is no model.
        PlanError: there is no such combination.
    """
    if image in settings.catalog().models:
        from builder.engine.build import default_tag

        return default_tag(settings.plan(image, platform=platform, variant=variant or "stock", options={}), until)
    if platform or variant or until:
        message = f"{image} is no model, and --platform, --variant and --until are a model's"
        raise UsageError(message, hint="name an image without them, or a model; see `drivebuild list`")
    return image


def _again(
    settings: Settings,
    engine: Engine,
    tag: str,
    words: Words,
    stages: tuple[str, ...],
    *,
    builder: str,
    keep: bool,
) -> Comparison:
    """Build an image once more, compare both, and remove the second unless it is to be kept."""
    from builder.cli.reproduceread import compared, plan_of
    from builder.engine.snapshot import read_dockerfile

    kept = _kept(engine, tag, words)
    plan = plan_of(settings, kept, engine.facts().architecture)
    _check_room(engine, tag)
    _say_bases(engine, kept)
    second = _second_name(tag)
    try:
        _build(settings, engine, plan, read_dockerfile(tag), kept, words, second=second, stages=stages, builder=builder)
        return compared(engine, tag, second, plan=plan)
    finally:
        if not keep and engine.image(second) is not None:
            engine.client.remove_image(second)


def _foretell(
    settings: Settings, engine: Engine, tag: str, words: Words, stages: tuple[str, ...], *, builder: str
) -> None:
    """Say what would be built, after the same looks that a build has before it.

    Raises:
        BuildError, UsageError, PlanError: as the build does before it begins.
    """
    import shlex

    from builder.cli.reproduceread import placed, plan_of
    from builder.engine.build import build_command
    from builder.engine.snapshot import read_dockerfile

    kept = _kept(engine, tag, words)
    plan = plan_of(settings, kept, engine.facts().architecture)
    _check_room(engine, tag)
    _say_bases(engine, kept)
    plan, choices = _again_choices(settings, plan, kept, words, second=_second_name(tag), stages=stages)
    choices = placed(plan, choices, kept, _way(engine), builder=builder)
    for name in choices.again or tuple(kept.stages):
        typer.echo(name)
    typer.echo(f"\n{len(read_dockerfile(tag).splitlines())} lines of Dockerfile, of the image's record")
    typer.echo(f"\n$ {shlex.join(build_command(plan, choices, folder=Path('TEMPORARY')))}")


def _kept(engine: Engine, tag: str, words: Words) -> Snapshot:
    """Return what an image was made from.

    Raises:
        BuildError: nobody wrote it down, or the image of that name is another one by now.
        UsageError: folders stood for stages then, and none is given now.
    """
    from builder.engine.snapshot import read_dockerfile, read_snapshot

    image, kept = engine.image(tag), read_snapshot(tag)
    if image is None:
        raise BuildError(f"there is no image {tag}", hint="pull it, or build it: `drivebuild image`")
    if kept is None or not read_dockerfile(tag):
        hint = "build it here first, or name a second image to compare with: --against IMAGE"
        raise BuildError(f"there is no record here of how {tag} was built", hint=hint)
    if kept.image_id != image.id:
        hint = "`drivebuild image` with the same arguments writes a new one; --against IMAGE wants none"
        raise BuildError(f"the record of {tag} is that of another image", hint=hint)
    given = {text.partition("=")[0] for text in words.sources or ()}
    lacking = [name for name in kept.notes if name.removeprefix("src-") not in given and name not in given]
    if lacking:
        said = "; ".join(f"{name} was {kept.notes[name]}" for name in lacking)
        raise UsageError(f"{tag} was built with folders in place of sources: {said}", hint="give them again: --source")
    return kept


def _check_room(engine: Engine, tag: str) -> None:
    image, free = engine.image(tag), engine.facts().free_bytes()
    if image is not None and free is not None and free < image.size * ROOM:
        message = (
            f"the engine's disk has {human_bytes(free)} free; building {tag} again takes {human_bytes(image.size)}"
        )
        raise BuildError(f"{message} and more", hint="`drivebuild clean` makes room; --stage runs some stages only")


def _say_bases(engine: Engine, kept: Snapshot) -> None:
    """Say which images that it stands on are not those of then: what differs may come from there."""
    for name, identity in kept.bases.items():
        image = engine.image(name)
        if image is not None and identity and image.id != identity:
            typer.echo(f"note: {name} is another image than the one that {kept.tag} stands on", err=True)


def _second_name(tag: str) -> str:
    """Return a name for the second image; one of a registry or without a tag gets one of drivebuild's own."""
    import re

    repository, colon, name = tag.rpartition(":")
    if colon and "/" not in name and "@" not in tag:
        return f"{repository}:{name[: 128 - len(SUFFIX)]}{SUFFIX}"
    return f"drivebuild/{re.sub('[^a-z0-9]+', '-', tag.lower()).strip('-')[:100]}:{SUFFIX.strip('-')}"


def _build(
    settings: Settings,
    engine: Engine,
    plan: Plan,
    dockerfile: str,
    kept: Snapshot,
    words: Words,
    *,
    second: str,
    stages: tuple[str, ...],
    builder: str,
) -> None:
    from builder.cli.live import make_view
    from builder.cli.reproduceread import placed
    from builder.cli.supply import supplied
    from builder.engine.build import build
    from builder.engine.buildlock import alone_with

    plan, choices = _again_choices(settings, plan, kept, words, second=second, stages=stages)
    words = replace(words, until=choices.until, tag=second)
    way = _way(engine)
    alone = alone_with(second, lambda: typer.echo(f"another drivebuild is building {second}; waiting", err=True))
    with alone, supplied(settings, plan, wanted_of(choices, words), engine=engine, runner=way.runner) as supply:
        given = placed(plan, supplied_with(choices, supply), kept, way, builder=builder)
        if given.builder and given.elsewhere:
            typer.echo(f"note: built again on builder {given.builder.name}", err=True)
        # With --json there is one document on standard output, and nothing else.
        view = None if words.progress == "json" else make_view(words.progress)
        observe = view.update if view else _unseen
        try:
            build(plan, dockerfile, given, runner=way.runner, engine=engine, observe=observe)
        finally:
            if view:
                view.close()


def _way(engine: Engine) -> Way:
    from builder.engine.process import SystemRunner
    from builder.engine.push import Way

    return Way(runner=SystemRunner(), engine=engine, say=lambda line: typer.echo(line, err=True))


def _again_choices(
    settings: Settings, plan: Plan, kept: Snapshot, words: Words, *, second: str, stages: tuple[str, ...]
) -> tuple[Plan, Choices]:
    """Return the plan with its profile, and the choices; `again` are the stages that run, none for all of them."""
    from builder.engine.snapshot import Asked

    again = with_dependants(stages, {name: (each.base, *each.uses) for name, each in kept.stages.items()})
    target = "" if kept.target == plan.names[-1] else kept.target
    plan, profiled = with_profile(settings, plan, kept.profile, until=target)
    choices = choices_of(settings, plan, replace(words, until=target, tag=second))
    # The recipe of then: the label of an image names what it was built from.
    asked = Asked(digests=kept.digests, templates=kept.templates)
    return plan, replace(choices, arguments=dict(kept.arguments), again=again, contexts=profiled, asked=asked)


def _unseen(_state: BuildState, _now: float) -> None:
    """Watch a build without a word."""


def with_dependants(stages: tuple[str, ...], needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the stages and all that need them: from the cache, those would bring the first image's layers again.

    Raises:
        UsageError: for a stage that there is not.
    """
    from builder.recipe.suggest import one_of

    for name in stages:
        if name not in needs:
            raise UsageError(f"--stage: the image has no stage {name!r}", hint=one_of(name, tuple(needs)))
    found = set(stages)
    while more := {name for name, uses in needs.items() if name not in found and found & set(uses)}:
        found |= more
    return tuple(name for name in needs if name in found)


def _write(path: Path, data: object) -> None:
    import json

    from builder.source.tree import write_text

    write_text(path, json.dumps(data, indent=1) + "\n")

"""`why`: what changed since an image was built, what that runs again, and what it costs. Nothing is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.building import (
    BuildArguments,
    Offline,
    Sources,
    asked_of,
    dockerfile_of,
    parse_arguments,
    template_digests,
)
from builder.cli.main import Settings, app
from builder.cli.options import (
    AsJson,
    Lto,
    ModelName,
    Options,
    Pgo,
    Pins,
    Platform,
    Profile,
    Toolchain,
    Variant,
    parse_options,
    parse_pins,
    variant_of,
)
from builder.cli.profiled import with_profile
from builder.cli.whyview import Other, print_answer, print_answer_data, print_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from builder.engine.changed import Question
    from builder.engine.host import Image
    from builder.engine.ledger import Ledger
    from builder.engine.snapshot import Snapshot
    from builder.engine.timings import Timings
    from builder.engine.why import Answer
    from builder.plan.stage import Plan


@app.command()
def why(
    context: typer.Context,
    model: ModelName,
    platform: Platform = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    option: Options = None,
    pin: Pins = None,
    toolchain: Toolchain = "",
    profile: Profile = "",
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="The image of this stage.")] = "",
    tag: Annotated[str, typer.Option("--tag", metavar="T", help="The name it was built under, if another.")] = "",
    source: Sources = None,
    build_arg: BuildArguments = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Say what changed since an image was built, which stages that runs, and how long that takes. Builds nothing."""
    from dataclasses import replace

    from builder.engine.snapshot import read_snapshot
    from builder.engine.target import default_tag, target_of
    from builder.source.catalog import read_templates

    settings: Settings = context.obj
    chosen = variant_of(variant, lto=lto, pgo=pgo)
    options, pins = parse_options(option), parse_pins(pin)
    plan = settings.plan(model, platform=platform, variant=chosen, options=options, pinned=pins, toolchain=toolchain)
    plan, profiled = with_profile(settings, plan, profile, until=until)
    target, name = target_of(plan, until), tag or default_tag(plan, until)
    arguments = _declared(plan, parse_arguments(build_arg))
    folders = _folders(plan, source, profiled)
    snapshot = read_snapshot(name)
    if snapshot is None:
        print_unknown(name, as_json=as_json)
        return
    images = _inspected((*snapshot.images, name))
    question = replace(_question(plan, target, snapshot, images, read_templates()), offline=offline)
    # A licence that was accepted for the build is no change of the image.
    accepted = {key: value for key, value in snapshot.arguments.items() if key.startswith("ACCEPT_")}
    question = replace(question, arguments={**accepted, **arguments})
    question = _with_folders(question, snapshot, folders)
    found, others = _answered(settings, question, snapshot)
    gone = images is not None and name not in images
    show = print_answer_data if as_json else print_answer
    show(snapshot, found, others, gone=gone, asked=images is not None)


def _declared(plan: Plan, arguments: dict[str, str]) -> dict[str, str]:
    if arguments:
        from builder.engine.command import Choices, check_arguments

        check_arguments(dockerfile_of(plan), Choices(arguments=arguments))
    return arguments


def _folders(plan: Plan, sources: list[str] | None, profiled: tuple[tuple[str, Path], ...]) -> dict[str, Path]:
    """Return the folders that the caller puts in place of stages."""
    from builder.engine.local import local_sources
    from builder.engine.process import SystemRunner

    local = local_sources(plan, sources or (), SystemRunner()) if sources else ()
    return {**dict(profiled), **{item.stage: item.folder for item in local}}


def _inspected(names: tuple[str, ...]) -> dict[str, Image] | None:
    """Return the images that the engine has; None where it cannot be asked. The docker SDK takes longer to import."""
    import json

    from builder.engine.host import image_of
    from builder.engine.process import CommandMissingError, SystemRunner

    try:
        result = SystemRunner().run(("docker", "image", "inspect", "--", *dict.fromkeys(names)))
        items = json.loads(result.stdout or b"[]")
        if result.code != 0 and "no such image" not in result.complaint.lower():
            return None
        return {name: image_of(item) for item in items for name in names if name in (item.get("RepoTags") or ())}
    except (CommandMissingError, ValueError, LookupError):
        return None


def _question(
    plan: Plan, target: str, snapshot: Snapshot, images: Mapping[str, Image] | None, texts: Mapping[str, str]
) -> Question:
    """Return what is to be compared, nothing of it rendered yet."""
    from builder.engine.changed import Question
    from builder.engine.forecast import image_word
    from builder.engine.snapshot import Asked

    known = {name: image for name, image in (images or {}).items() if name in snapshot.images}
    words = {name: image_word(known[name]) if name in known else word for name, word in snapshot.images.items()}
    return Question(
        plan=plan,
        target=target,
        dockerfile="",
        asked=Asked(templates=template_digests(texts)),
        templates=texts,
        images=words,
        bases={name: image.id for name, image in known.items()},
    )


def _with_folders(question: Question, snapshot: Snapshot, folders: Mapping[str, Path]) -> Question:
    from dataclasses import replace

    from builder.engine.forecast import folder_words
    from builder.engine.why import new_contexts

    return replace(question, contexts=new_contexts(question.plan, snapshot, folder_words(folders)), folders=folders)


def _answered(settings: Settings, question: Question, snapshot: Snapshot) -> tuple[Answer | None, tuple[Other, ...]]:
    """Return what changed and whom else it reaches; None where nothing did."""
    from builder.engine.ledger import read_ledger
    from builder.engine.record import read_record
    from builder.engine.timings import read_timings
    from builder.engine.why import nothing_changed

    if nothing_changed(question, snapshot):
        return None, ()
    record = read_record(snapshot.tag)
    ledger = read_ledger(record.builder) if record else None
    timings = read_timings()
    found = _answer(question, snapshot, ledger, timings)
    others = tuple(_others(settings, found, snapshot, ledger, timings, question.templates)) if found.runs else ()
    return found, others


def _answer(question: Question, snapshot: Snapshot, ledger: Ledger | None, timings: Timings) -> Answer:
    from dataclasses import replace

    from builder.engine.snapshot import read_dockerfile
    from builder.engine.why import answer

    asked = asked_of(question.plan)
    rendered = replace(question, dockerfile=dockerfile_of(question.plan), asked=asked)

    def seconds(stage: str) -> float | None:
        digest, platform = asked.digests.get(stage, ""), question.plan.platform.name
        return timings.seconds(digest, platform=platform, stage=stage, architecture=snapshot.architecture)

    return answer(rendered, snapshot, read_dockerfile(snapshot.tag), ledger, seconds)


def _others(
    settings: Settings,
    found: Answer,
    mine: Snapshot,
    ledger: Ledger | None,
    timings: Timings,
    texts: Mapping[str, str],
) -> Iterator[Other]:
    """Yield the other images with a record that the same changes reach."""
    from dataclasses import replace

    from builder.engine.snapshot import all_snapshots
    from builder.engine.why import new_contexts, nothing_changed
    from builder.errors import PlanError

    for snapshot in all_snapshots():
        if snapshot.tag == mine.tag:
            continue
        try:
            plan = settings.plan(
                snapshot.model,
                platform=snapshot.platform,
                variant=snapshot.variant,
                options=snapshot.options,
                pinned=snapshot.pinned,
                toolchain=snapshot.toolchain,
                profile=snapshot.profile,
            )
        except PlanError:
            # The recipe, or what was chosen of it, is no longer there: nobody builds it again.
            continue
        if snapshot.target not in plan.names:
            continue
        # What was given for that build will be given again; the engine is not asked for each.
        own = {stage: word for stage, word in snapshot.contexts.items() if word.startswith("folder:")}
        question = replace(
            _question(plan, snapshot.target, snapshot, None, texts),
            contexts=new_contexts(plan, snapshot, own),
            arguments=snapshot.arguments,
            offline=snapshot.offline,
        )
        if nothing_changed(question, snapshot):
            continue
        theirs = _answer(question, snapshot, ledger, timings)
        running = tuple(run for run in theirs.runs if run.runs)
        if running and theirs.roots & found.roots:
            yield Other(tag=snapshot.tag, runs=running)

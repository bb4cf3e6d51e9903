"""What `image` and `build-all` have in common: options of a build, and what the command line's words make of it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.cli.main import Settings
    from builder.cli.supply import Supply, Wanted
    from builder.engine.build import Choices
    from builder.engine.compilecache import Folder, Server
    from builder.engine.snapshot import Asked
    from builder.plan.stage import Plan

__all__ = [
    "BuildArguments",
    "CaBundle",
    "Jobs",
    "NoCache",
    "Offline",
    "Sources",
    "Stored",
    "Words",
    "asked_of",
    "check_progress",
    "choices_of",
    "dockerfile_of",
    "parse_arguments",
    "say_choices",
    "supplied_with",
    "template_digests",
    "wanted_of",
]

RENDERERS = ("render/dockerfile.py", "render/engine.py")
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


Jobs = Annotated[
    int | None, typer.Option("--jobs", metavar="N", min=1, help="Compile jobs at a time; default: all processors.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Run every stage again.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
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
    no_cross: bool = False


def choices_of(settings: Settings, plan: Plan, words: Words) -> Choices:
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
        arguments=parse_arguments(words.arguments),
        proxies=() if words.offline else proxy_names({**os.environ, **settings.network().proxies}),
        no_cache=words.no_cache,
        offline=words.offline,
        retry=_retry(plan, settings, words),
        asked=asked_of(plan),
        target=plan.foreign,
    )


def asked_of(plan: Plan) -> Asked:
    """Return digests of what a plan is rendered from."""
    from builder.engine.snapshot import Asked
    from builder.render.keys import stage_digests
    from builder.source.catalog import read_templates

    texts = read_templates()
    return Asked(digests=stage_digests(plan, texts), templates=template_digests(texts))


def template_digests(texts: Mapping[str, str]) -> dict[str, str]:
    """Return a short digest of each template and script of a Dockerfile, and of what renders them."""
    import hashlib

    from builder import paths

    renderers = {name: (paths.RECIPES.parent / name).read_text(encoding="utf-8") for name in RENDERERS}
    used = {name: text for name, text in texts.items() if name.startswith(("macros/", "scripts/", "stages/"))}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:12] for name, text in {**used, **renderers}.items()}


def dockerfile_of(plan: Plan) -> str:
    from builder.render.dockerfile import render_dockerfile
    from builder.source.catalog import read_templates

    return render_dockerfile(plan, read_templates())


def parse_arguments(texts: list[str] | None) -> dict[str, str]:
    """Return NAME=VALUE texts of `--build-arg` as a mapping.

    Raises:
        UsageError: for a text without '='.
    """
    return dict(_pair(text) for text in texts or ())


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--build-arg {text!r}: expected NAME=VALUE")
    return name, value


def _retry(plan: Plan, settings: Settings, given: Words) -> str:
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
    words += ["--no-cross"] if given.no_cross else []
    words += [f"--accept-{name}-eula" for name in given.agreements]
    for flag, texts in (("--source", given.sources), ("--build-arg", given.arguments)):
        for text in texts or ():
            words += [flag, text]
    return shlex.join(words)


def wanted_of(choices: Choices, words: Words) -> Wanted:
    """Return what a build wants of stores and mirrors."""
    from builder.cli.supply import Wanted

    return Wanted(
        store=words.store,
        offline=words.offline,
        agreements=words.agreements,
        until=words.until,
        replaced={item.stage for item in choices.sources},
        quiet=words.progress == "json",
    )


def supplied_with(choices: Choices, supply: Supply) -> Choices:
    """Return the choices with what the build is handed."""
    return replace(
        choices,
        contexts=(*choices.contexts, *supply.contexts),
        images=supply.images,
        secrets=supply.secrets,
        environment=dict(supply.environment),
        arguments={**choices.arguments, **dict(supply.arguments)},
    )


def check_progress(progress: str) -> None:
    from builder.recipe.suggest import one_of

    known = ("plain", "rich", "json")
    if progress and progress not in known:
        raise UsageError(f"--progress: there is no {progress!r}", hint=one_of(progress, known))


def say_choices(choices: Choices) -> None:
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

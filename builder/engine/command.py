"""What a build is told: the caller's choices, the command they make, and the folder that buildx reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.engine.builders import Builder
from builder.engine.host import Facts
from builder.engine.leftover import temporary_folder
from builder.engine.local import LocalSource
from builder.engine.process import Argv
from builder.engine.registry import RECIPE
from builder.engine.snapshot import Asked
from builder.engine.target import default_tag, target_of
from builder.engine.trust import CaBundle
from builder.errors import BuildError, UsageError
from builder.plan.imagename import IMAGE_NAME
from builder.plan.stage import TARGETS, Plan
from builder.recipe.suggest import one_of

__all__ = [
    "Choices",
    "build_command",
    "build_files",
    "check_arguments",
    "declared_arguments",
    "default_tag",
    "from_cache",
    "recipe_of",
    "target_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the caller chose about one build."""

    until: str = ""
    tag: str = ""
    jobs: int | None = None
    ca_bundle: CaBundle | None = None
    sources: tuple[LocalSource, ...] = ()
    contexts: tuple[tuple[str, Path], ...] = ()
    """Folders from a store in place of stages: the very content the stage would have, so no override."""
    images: tuple[tuple[str, str], ...] = ()
    """Images that a registry mirror serves, by the name the Dockerfile has."""
    layouts: tuple[tuple[str, str], ...] = ()
    """Images that BuildKit is handed as OCI layouts, by the name the Dockerfile has: builder/engine/builders.py."""
    secrets: tuple[tuple[str, Path], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings of the build's own process, for proxies that a config file names."""
    offline: bool = False
    """Whether no step may have a network."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    proxies: tuple[str, ...] = ()
    no_cache: bool = False
    again: tuple[str, ...] = ()
    """Stages that run again whatever the cache has; with `no_cache` it is all of them."""
    retry: str = ""
    """The command line that makes the same choices, for the message of a failure."""
    asked: Asked = field(default_factory=Asked)
    """What the Dockerfile was rendered from."""
    builder: Builder | None = None
    """None for the one that buildx takes by itself."""
    load: bool = True
    """Whether the result becomes an image of the engine; else it stays in the builder's cache, for a push."""
    cache_from: tuple[str, ...] = ()
    """BuildKit's words for caches to read."""
    target: str = ""
    """The architecture to build for, as recipes spell it, where it is not the builder's own."""
    context: Path | None = None
    """An empty folder in place of a temporary one: buildx's Kubernetes driver chooses a pod by the context's path."""

    @property
    def folders(self) -> dict[str, Path]:
        """Folders that stand for stages, by stage: a store's, and before them the caller's own."""
        return {**dict(self.contexts), **{source.stage: source.folder for source in self.sources}}

    @property
    def elsewhere(self) -> bool:
        """Whether the builder has other images and another cache than the engine."""
        return self.builder is not None and self.builder.elsewhere

    def architecture(self, facts: Facts) -> str:
        """Return what is built for: the builder's own unless another was asked for."""
        return self.target or self.machine(facts)

    def machine(self, facts: Facts) -> str:
        """Return the builder's own architecture: of the engine, where its own BuildKit builds."""
        return next(iter(self.builder.architectures), "") if self.builder and self.elsewhere else facts.architecture


def recipe_of(plan: Plan, choices: Choices) -> str:
    """Return the hash of the recipe that the result is of; '' where it is no whole image, or not what a recipe pins."""
    # Which licences were accepted is an argument, too, and changes no layer.
    own = any(not name.startswith("ACCEPT_") for name in choices.arguments)
    if choices.sources or own or target_of(plan, choices.until) != plan.names[-1]:
        return ""
    return choices.asked.digests.get(plan.names[-1], "")


def declared_arguments(dockerfile: str) -> tuple[str, ...]:
    """Return the names of the build arguments that a Dockerfile declares."""
    return tuple(dict.fromkeys(re.findall(r"^ARG ([A-Za-z_][A-Za-z0-9_]*)", dockerfile, re.MULTILINE)))


def build_command(
    plan: Plan, choices: Choices, *, folder: Path, output: str = "", cache_to: tuple[str, ...] = ()
) -> Argv:
    """Return the command that builds what `folder` holds: Dockerfile, an empty context, secrets.

    The result is loaded into the engine under its tag, unless `output` is another exporter of BuildKit's, or nothing is
    to be loaded.
    """
    words = ["docker", "buildx", "build", "--progress=rawjson"]
    words += ["--builder", choices.builder.name] if choices.builder else []
    words += ["--platform", f"linux/{TARGETS[choices.target]}"] if choices.target else []
    if output or not choices.load:
        words += ["--output", output or "type=cacheonly"]
    else:
        words += ["--load", "--tag", choices.tag or default_tag(plan, choices.until)]
    words += [
        "--target",
        target_of(plan, choices.until),
        *_labels(plan, choices),
        *_secrets(choices, folder),
        *_arguments(choices),
        *_contexts(choices),
    ]
    for option, places in (("--cache-from", choices.cache_from), ("--cache-to", cache_to)):
        for place in places:
            words += [option, place]
    if choices.offline:
        words += ["--network", "none"]
    if choices.no_cache:
        words.append("--no-cache")
    elif choices.again:
        words += ["--no-cache-filter", ",".join(choices.again)]
    words += ["--metadata-file", str(folder / "metadata.json"), "--file", str(folder / "Dockerfile")]
    return (*words, str(choices.context or folder / "context"))


def from_cache(choices: Choices) -> Choices:
    """Return the choices of another solve of what was just built: without the cache it would be another image."""
    return replace(choices, no_cache=False, again=())


def _labels(plan: Plan, choices: Choices) -> Iterator[str]:
    recipe = recipe_of(plan, choices)
    if recipe:
        # Not in the Dockerfile, whose text it is a digest of.
        yield from ("--label", f"{RECIPE}={recipe}")


def _secrets(choices: Choices, folder: Path) -> Iterator[str]:
    given = [("ca-bundle", choices.ca_bundle.path)] if choices.ca_bundle else []
    given += [("max-jobs", folder / "max-jobs")] if choices.jobs else []
    for name, path in (*given, *choices.secrets):
        yield from ("--secret", f"id={name},src={path}")


def _arguments(choices: Choices) -> Iterator[str]:
    for name, value in choices.arguments.items():
        yield from ("--build-arg", f"{name}={value}")
    for name in choices.proxies:
        # Without a value buildx takes it from the environment: a password stays out of commands and records.
        yield from ("--build-arg", name)


def _contexts(choices: Choices) -> Iterator[str]:
    local = [(source.stage, str(source.folder)) for source in choices.sources]
    stored = [(stage, str(folder)) for stage, folder in choices.contexts]
    mirrored = [(image, f"docker-image://{mirror}") for image, mirror in choices.images]
    for name, place in (*local, *stored, *mirrored, *choices.layouts):
        yield from ("--build-context", f"{name}={place}")


def check_arguments(dockerfile: str, choices: Choices) -> None:
    """Look whether the Dockerfile declares every build argument, and whether the image can have its name.

    Raises:
        UsageError: naming the one it does not declare, or the name.
    """
    named = IMAGE_NAME.match(choices.tag)
    if choices.tag and (named is None or named["digest"]):
        raise UsageError(f"--tag {choices.tag!r}: no image can be called that", hint="such as team/streampetr:try-1")
    declared = declared_arguments(dockerfile)
    for name in choices.arguments:
        if name not in declared:
            raise UsageError(f"--build-arg: the Dockerfile declares no {name!r}", hint=one_of(name, declared))


@contextmanager
def build_files(dockerfile: str, choices: Choices) -> Iterator[Path]:
    """Yield a folder with all that buildx reads; nothing of it is left afterwards."""
    try:
        with temporary_folder() as folder:
            (folder / "context").mkdir()
            (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
            if choices.jobs:
                (folder / "max-jobs").write_text(str(choices.jobs), encoding="ascii")
            yield folder
    except OSError as error:
        place = error.filename or os.environ.get("TMPDIR", "the temporary folder")
        raise BuildError(f"{place}: {error.strerror}", hint="TMPDIR names another temporary folder") from error

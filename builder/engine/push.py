"""An image into a registry: its layers as zstd where the builder can, as gzip where not; its cache beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from builder.engine.attest import attest_words
from builder.engine.builders import Builder, builder_of
from builder.engine.command import Choices, build_command, build_files, default_tag, from_cache, recipe_of
from builder.engine.fixedtimes import EPOCH, REWRITTEN
from builder.engine.host import CONTAINERD, INSTALL, OTHER_STORE, Engine, Facts
from builder.engine.manifests import Found, Tools
from builder.engine.owntag import lone_tag, overtaken, own_tag
from builder.engine.process import Argv, CommandMissingError, Result, Runner
from builder.engine.registry import ARCHITECTURES, Reference, patience_asked, refused
from builder.errors import BuildError, UsageError
from builder.patience import PATIENCE, Patience, RefusedError, Say, patiently
from builder.plan.stage import Plan

__all__ = ["GZIP_NOTE", "ZSTD", "Pushed", "Way", "check_export", "push", "push_target", "pushed_name"]

GZIP_NOTE = f"as gzip: the engine's own image store knows no other. zstd wants containerd's: {CONTAINERD}"
# Base layers come from a registry as gzip; forced, all are zstd and a pull has one kind to unpack.
ZSTD = "compression=zstd,compression-level=3,force-compression=true,oci-mediatypes=true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a registry has now."""

    name: str
    """With its tag; of a push by digest only the repository, where no tag was needed."""
    digest: str
    compression: Literal["zstd", "gzip"]
    tags: tuple[str, ...] = ()
    """All names it has there by this push, or had already."""
    kept: str = ""
    """The digest of another image that has the recipe's own tag, and keeps it."""
    taken: str = ""
    """The digest of another image that was given that tag while this one was: two pushed one recipe at once."""
    recipe: str = ""
    architecture: str = ""
    fixed_times: bool = False
    """Whether another build of the recipe has the same digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What everything goes through."""

    runner: Runner
    engine: Engine
    patience: Patience = PATIENCE
    say: Say = lambda _line: None
    builders: dict[str, Builder | None] = field(default_factory=dict)
    """Those that were asked for already: of many images each would cost two processes."""

    def builder(self, name: str) -> Builder | None:
        """Return what `builder_of` does."""
        if name not in self.builders:
            self.builders[name] = builder_of(name, self.runner)
        return self.builders[name]

    def patiently(self, command: Argv, host: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a command, again while its fault passes; return what it printed.

        Raises:
            RefusedError: when it fails for good.
            BuildError: without docker.
        """
        return patiently(
            lambda: _run(command, self.runner, environment),
            about=host,
            patience=self.patience,
            say=self.say,
            ask=lambda: patience_asked(host),
        )

    def tools(self, choices: Choices) -> Tools:
        """Return what looks into registries."""
        builder = choices.builder.name if choices.builder and choices.elsewhere else ""
        return Tools(runner=self.runner, builder=builder, patience=self.patience, say=self.say)


def pushed_name(repository: str, plan: Plan, choices: Choices) -> str:
    """Return the name that the image has in the registry."""
    tag = choices.tag or default_tag(plan, choices.until)
    return f"{repository}/{tag.removeprefix('drivebuild/')}"


def push_target(repository: str, plan: Plan, choices: Choices, *, alone: Facts | None = None) -> Reference:
    """Return where the image goes; `alone`, for a push by digest, are the facts of the engine here."""
    target = _parted(pushed_name(repository, plan, choices))
    if alone is None:
        return target
    # Neither the engine's own push nor its BuildKit ("push-by-digest is currently not implemented for docker
    # driver") knows an image without a tag.
    architecture = _architecture(choices, alone)
    tag = "" if choices.elsewhere else lone_tag(target.tag, recipe_of(plan, choices), architecture)
    return Reference(target.repository, tag)


def _architecture(choices: Choices, facts: Facts) -> str:
    found = choices.architecture(facts)
    return ARCHITECTURES.get(found, found)


def push(
    plan: Plan,
    dockerfile: str,
    choices: Choices,
    repository: str,
    *,
    way: Way,
    by_digest: bool = False,
    overwrite: bool = False,
    attest: str = "",
    fixed_times: bool = False,
) -> Pushed:
    """Push what a build with the same choices has just made.

    A whole image as its recipe has it gets a second tag, with the hash of the recipe. It is written once: who deploys
    by it gets what was there when it was tested, while the other tag moves on with each build. `overwrite` moves both.
    `attest` is a word of builder/engine/attest.py, for a builder that was looked at with `check_attest`; `fixed_times`
    wants one that was looked at with `check_fixed_times`.

    Raises:
        BuildError: when the registry refuses or cannot be reached; what has arrived there is kept.
    """
    facts = way.engine.facts()
    own = not (facts.containerd_store or choices.elsewhere)
    target = push_target(repository, plan, choices, alone=facts if by_digest else None)
    recipe = recipe_of(plan, choices)
    try:
        if own:
            digest = _pushed_by_engine(choices.tag or default_tag(plan, choices.until), target, way)
        else:
            send = _pushed_by_buildkit if choices.elsewhere or not fixed_times else _pushed_from_archive
            digest = send(plan, dockerfile, choices, target, way, _export(attest, fixed_times=fixed_times))
    except RefusedError as error:
        where = f"builder {choices.builder.name}" if choices.builder and choices.elsewhere else "the engine"
        raise refused(f"{target.name} could not be pushed", str(error), target.host, where=where) from error
    done = Pushed(
        name=target.name,
        digest=digest,
        compression="gzip" if own else "zstd",
        tags=(target.name,) if target.tag else (),
        recipe=recipe,
        architecture=_architecture(choices, facts),
        fixed_times=fixed_times,
    )
    if by_digest or not recipe or choices.tag:
        return done
    source = choices.tag or default_tag(plan, choices.until) if own else ""
    return _with_recipe_tag(done, target, source, way, choices, overwrite=overwrite)


def _parted(name: str) -> Reference:
    repository, _, tag = name.rpartition(":")
    # A tag of the caller's choice may have none: then the colon is that of a port, or there is none.
    return Reference(repository, tag) if repository and "/" not in tag else Reference(name, "latest")


def _with_recipe_tag(
    done: Pushed, target: Reference, source: str, way: Way, choices: Choices, *, overwrite: bool
) -> Pushed:
    """Give what was pushed its second tag, if no other image has that."""
    second = Reference(target.repository, own_tag(target.tag, done.recipe))
    tools = way.tools(choices)

    def ours(found: Found) -> bool:
        if found.digest == done.digest:
            return True
        new = tools.look(Reference(target.repository, digest=done.digest))
        return new is not None and new.contents <= found.contents

    def write() -> None:
        if not source:
            tools.name((second,), (target.at(done.digest),), one=True)
            return
        try:
            _pushed_by_engine(source, second, way)
        except RefusedError as error:
            raise refused(f"{second.name} could not be pushed", str(error), target.host) from error

    there = None if overwrite else tools.look(second)
    if there:
        if not ours(there):
            return replace(done, kept=there.digest)
    else:
        write()
        if taken := overtaken(second, ours, tools):
            return replace(done, taken=taken)
    return replace(done, tags=(*done.tags, second.name))


@dataclass(frozen=True, slots=True)
class _Export:
    """What is asked of BuildKit's exporter beside a name."""

    output: str
    words: Argv

    def command(self, plan: Plan, choices: Choices, folder: Path, output: str) -> Argv:
        output = f"{output},{ZSTD}{self.output}"
        command = build_command(plan, from_cache(choices), folder=folder, output=output)
        # The context is the last word.
        return (*command[:-1], *self.words, command[-1])


def _export(attest: str, *, fixed_times: bool) -> _Export:
    if not fixed_times:
        return _Export("", attest_words(attest))
    # Most builders attest something unasked, with the time of the build, and the digest would be of that, too.
    return _Export(f",{REWRITTEN}", (*EPOCH, *(attest_words(attest) or ("--provenance=false",))))


def _pushed_by_buildkit(
    plan: Plan, dockerfile: str, choices: Choices, target: Reference, way: Way, export: _Export
) -> str:
    named = "push=true" if target.tag else "push-by-digest=true,name-canonical=true,push=true"
    with build_files(dockerfile, choices) as folder:
        command = export.command(plan, choices, folder, f"type=image,name={target.name},{named}")
        way.patiently(command, target.host, choices.environment)
        return _exported(folder)


def _pushed_from_archive(
    plan: Plan, dockerfile: str, choices: Choices, target: Reference, way: Way, export: _Export
) -> str:
    """Push what BuildKit exports as an archive.

    The engine's own exporter unpacks every image, and refuses to rewrite times of one; an archive it rewrites, and an
    engine with containerd's image store pushes what it has loaded as it is.
    """
    try:
        with build_files(dockerfile, choices) as folder:
            command = export.command(plan, choices, folder, f"type=oci,dest=-,name={target.name}")
            patiently(lambda: _loaded(command, choices, way), about="docker load", patience=way.patience, say=way.say)
            digest = _exported(folder)
        way.patiently(("docker", "push", target.name), target.host)
    finally:
        way.runner.run(("docker", "image", "rm", target.name))
    return digest


def _loaded(command: Argv, choices: Choices, way: Way) -> None:
    load: Argv = ("docker", "load", "--quiet")
    results = way.runner.pipe(command, load, lambda _piece: None, env=choices.environment or None)
    # Both say something when one of them fails; only one of them knows why.
    if failed := [_complaint(result) for result in results if result.code != 0]:
        raise RefusedError("\n".join(failed))


def _exported(folder: Path) -> str:
    return str(json.loads((folder / "metadata.json").read_bytes()).get("containerimage.digest", ""))


def _pushed_by_engine(tag: str, target: Reference, way: Way) -> str:
    way.patiently(("docker", "tag", tag, target.name), target.host)
    try:
        said = way.patiently(("docker", "push", target.name), target.host)
    finally:
        # Only the name: the image has its own one, too.
        way.runner.run(("docker", "image", "rm", target.name))
    found = re.search(r"digest: (sha256:[0-9a-f]{64})", said)
    return found[1] if found else ""


def check_export(choices: Choices, places: tuple[str, ...], facts: Facts) -> None:
    """Look, before anything is built, whether the builder can write its cache anywhere.

    Raises:
        UsageError: when it cannot.
    """
    outside = [place for place in places if not place.startswith("type=inline")]
    if outside and not choices.elsewhere and not facts.containerd_store:
        message = "--cache-to: with the engine's own image store BuildKit cannot export its cache"
        raise UsageError(message, hint=OTHER_STORE)


def _run(command: Argv, runner: Runner, environment: Mapping[str, str] | None = None) -> str:
    try:
        result = runner.run(command, env=environment or None)
    except CommandMissingError as error:
        raise BuildError(error.message, hint=INSTALL) from error
    if result.code != 0:
        raise RefusedError(_complaint(result))
    return result.text


def _complaint(result: Result) -> str:
    lines = _errors(result.complaint) or (result.complaint or result.text).splitlines()
    return "\n".join(line for line in lines if line.strip())


def _errors(said: str) -> list[str]:
    """Return the plain sentences of buildx's rawjson, which has them as `ERROR: …` lines."""
    return [line for line in said.splitlines() if line.startswith("ERROR")]

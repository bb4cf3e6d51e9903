"""Where a built image goes, and which caches and which builder it goes through."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace

from builder.engine.attest import check_attest
from builder.engine.build import StageFailedError
from builder.engine.builders import base_layout
from builder.engine.cachewrite import export_cache
from builder.engine.command import Choices, target_of
from builder.engine.fixedtimes import check_fixed_times
from builder.engine.folders import cache_folder, make_folder
from builder.engine.foreign import own_bases
from builder.engine.host import Facts
from builder.engine.push import Pushed, Way, check_export, push, push_target
from builder.engine.record import BuildRecord
from builder.engine.registry import cache_key, cache_source, cache_target, check_repository
from builder.errors import BuildError, UsageError
from builder.patience import passes
from builder.plan.stage import Plan

__all__ = ["Delivered", "Delivery", "check_delivery", "deliver", "prepared"]

SIBLINGS = 8
"""Caches of other models that are read at most: each costs a request or two before the build begins."""
# A step that pulls, in words of BuildKit's: of a RUN that fails only its exit code stands in the first line.
_PULL = re.compile(
    r"failed to (?:copy|resolve source metadata|do request|load cache)|failed commit on ref|httpReadSeeker"
    r"|unexpected commit digest|missing descriptor handlers|unexpected status from (?:GET|HEAD) request"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What the caller wants, in the caller's words."""

    push: str = ""
    """A repository."""
    by_digest: bool = False
    overwrite: bool = False
    """Whether the tag with the recipe's hash may be moved."""
    cache_to: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    builder: str = ""
    attest: str = ""
    """What is attested beside the pushed image: builder/engine/attest.py."""
    fixed_times: bool = False
    """Whether the pushed layers have the times of builder/engine/fixedtimes.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What came of it."""

    record: BuildRecord
    pushed: Pushed | None = None
    caches: tuple[str, ...] = ()
    """What was written, in BuildKit's words."""
    notes: tuple[tuple[str, str], ...] = ()
    """Which of them is less than it should be, and how."""


def check_delivery(delivery: Delivery, *, offline: bool) -> None:
    """Look at the words, before anything is asked of anybody.

    Raises:
        UsageError: for a repository or a name that is none, for what wants a network that is not allowed, and for
            `by_digest`, `overwrite` or `fixed_times` without a push.
    """
    if delivery.push:
        check_repository(delivery.push, offline=offline)
    else:
        words = ("--by-digest", delivery.by_digest), ("--overwrite", delivery.overwrite)
        for word, said in (*words, ("--fixed-times", delivery.fixed_times)):
            if said:
                raise UsageError(f"{word} is a word about --push")
    for text in delivery.cache_to:
        cache_target(text, "key", offline=offline)
    for text in delivery.cache_from:
        cache_source(text, ("key",), offline=offline)


def prepared(
    plan: Plan, choices: Choices, delivery: Delivery, *, way: Way, siblings: tuple[str, ...] = ()
) -> tuple[Choices, tuple[str, ...]]:
    """Return the choices with builder, base images and caches, and BuildKit's words for the caches to write.

    `siblings` are other models of the platform, whose caches have stages that this image shares.

    Raises:
        UsageError: when there is no such builder, or it cannot write caches or what is to be attested.
        BuildError: when a builder elsewhere does not answer, or cannot be handed a base image.
    """
    facts = way.engine.facts()
    if delivery.builder:
        retry = f"{choices.retry} --builder {shlex.quote(delivery.builder)}" if choices.retry else ""
        choices = replace(choices, builder=way.builder(delivery.builder), retry=retry)
    else:
        choices = replace(choices, builder=way.builder(""))
    if choices.elsewhere:
        choices = replace(_with_layouts(plan, choices, way), load=not delivery.push)
        _check_kind(choices, facts)
    if choices.builder and choices.builder.driver == "kubernetes":
        # Images of one platform share most stages: they meet in the pod that has them.
        choices = replace(choices, context=make_folder(cache_folder() / "empty" / plan.platform.name))
    own, others = _keys(plan, choices, choices.architecture(facts), siblings)
    cache_from = tuple(
        word for text in delivery.cache_from for word in cache_source(text, (own, *others), offline=choices.offline)
    )
    cache_to = tuple(cache_target(text, own, offline=choices.offline) for text in delivery.cache_to)
    check_export(choices, cache_to, facts)
    check_attest(delivery.attest, choices, facts, pushed=bool(delivery.push))
    if delivery.fixed_times:
        check_fixed_times(choices, facts)
    return replace(choices, cache_from=cache_from), cache_to


def _with_layouts(plan: Plan, choices: Choices, way: Way) -> Choices:
    """Hand over the images that only the engine has: a base that drivebuild made, and with --offline any base."""
    base = plan.platform.base
    wanted = plan.closure(target_of(plan, choices.until))
    used = any(stage.base.startswith(base.image) for stage in plan.stages if stage.name in wanted)
    if not used or (base.bootstrap is None and not choices.offline):
        return choices
    images, layouts = dict(choices.images), []
    for name in sorted({base.image, *dict(own_bases(plan))} if base.bootstrap else {base.image}):
        place = images.get(name, name)
        if base.bootstrap is not None and not place.startswith(base.image) and not choices.offline:
            # A site's mirror has it: the builder pulls it there.
            continue
        images.pop(name, None)
        layouts.append((name, base_layout(way.engine, place)))
    return replace(choices, images=tuple(images.items()), layouts=tuple(layouts))


def _check_kind(choices: Choices, facts: Facts) -> None:
    """Look whether what this machine hands over is for the builder's architecture.

    Raises:
        UsageError: when it is not.
    """
    wanted = choices.architecture(facts)
    if choices.target:
        # All of it was made and fetched for that one.
        return
    if wanted and wanted != facts.architecture and (choices.layouts or choices.contexts):
        what = choices.layouts[0][0] if choices.layouts else "what the store has"
        name = choices.builder.name if choices.builder else ""
        message = f"builder {name} is {wanted}, and {what} on this machine is for {facts.architecture}"
        hint = f"say which one is meant: --arch {wanted}; or build from a machine of that architecture"
        raise UsageError(message, hint=hint)


def _keys(plan: Plan, choices: Choices, architecture: str, siblings: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the key of this build's own cache, and those of caches that have stages of it."""
    flavour = plan.flavour.removeprefix(f"{plan.platform.name}-")

    def key(rest: str) -> str:
        return cache_key(platform=plan.platform.name, architecture=architecture, rest=rest)

    image = key(f"{plan.model.name}-{flavour}")
    whole = target_of(plan, choices.until) == plan.names[-1]
    stock = key(f"{plan.model.name}-stock")
    others = (image, stock, *(key(f"{name}-{flavour}") for name in siblings[:SIBLINGS]))
    return image if whole else key(choices.until), others


def deliver(
    plan: Plan,
    dockerfile: str,
    choices: Choices,
    delivery: Delivery,
    cache_to: tuple[str, ...],
    *,
    way: Way,
    attempt: Callable[[Choices], BuildRecord],
) -> Delivered:
    """Build, push, and write the cache, with patience for what passes.

    Raises:
        BuildError: as the build does; when the registry refuses. What is there by then stays.
    """
    record, choices = _built(choices, attempt, way)
    pushed = None
    if delivery.push:
        alone = way.engine.facts() if delivery.by_digest else None
        way.say(f"pushing {push_target(delivery.push, plan, choices, alone=alone).name}")
        pushed = push(
            plan,
            dockerfile,
            choices,
            delivery.push,
            way=way,
            by_digest=delivery.by_digest,
            overwrite=delivery.overwrite,
            attest=delivery.attest,
            fixed_times=delivery.fixed_times,
        )
    for place in cache_to:
        way.say(f"writing the cache to {place}")
    try:
        notes = export_cache(plan, dockerfile, choices, cache_to, way=way)
    except BuildError as error:
        if pushed is None:
            raise
        # Else nobody would learn what the registry has.
        message = f"{error.message}\nwhat was pushed stays: {pushed.name}@{pushed.digest}"
        raise BuildError(message, hint=error.hint) from error
    return Delivered(record=record, pushed=pushed, caches=cache_to, notes=notes)


def _built(choices: Choices, attempt: Callable[[Choices], BuildRecord], way: Way) -> tuple[BuildRecord, Choices]:
    """Build; again while a registry has a fault that passes, and at last without caches that cannot be read."""
    failed = 0
    while True:
        try:
            return attempt(choices), choices
        except StageFailedError as error:
            # An image of localhost is the engine's own: no registry has it, and none will in a minute.
            pulls = _PULL.search(error.first) is not None and "//localhost/" not in error.first
            failed += 1
            if pulls and passes(error.first) and failed < way.patience.tries:
                wait = way.patience.wait(failed)
                tries = f"try {failed + 1} of {way.patience.tries} in {wait:.0f} s; what is done is kept"
                way.say(f"a pull failed: {error.first}; {tries}")
                way.patience.sleep(wait)
            elif pulls and choices.cache_from:
                # BuildKit looks at a blob only when it needs it, and then does not go back to the step behind it.
                way.say(f"a cache cannot be used: {error.first}; the build goes on without --cache-from")
                choices = replace(choices, cache_from=())
            else:
                raise

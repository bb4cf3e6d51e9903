"""Every image as a row, and before the rows what several of them need: built once, where that is worth a job. Pure.

Rows are of one architecture each, because each has a machine of its own. What a stage takes comes from past builds,
through a function that the caller hands in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from builder.errors import PlanError
from builder.plan.make import make_plan
from builder.plan.stage import TARGETS, Plan, StageSpec
from builder.recipe.types import Architecture, Catalog
from builder.render.bake import target_name
from builder.render.keys import Digester
from builder.render.tree import all_plans

__all__ = [
    "Build",
    "Change",
    "Entry",
    "Merge",
    "Row",
    "Seconds",
    "SharedJob",
    "entries",
    "existing",
    "merges_of",
    "needed_words",
    "row_of",
    "seconds_of",
]

Change = Literal["added", "changed", "comments", ""]
Seconds = Callable[[str, str, str, str], float | None]
"""What a stage took: asked with digest, platform, stage and architecture; None where nobody knows."""
Runner = str | tuple[str, ...]

GUESSED = 0.1
"""What part of an estimate may be the plans' rough figures."""
LEAST_TIMEOUT, MOST_TIMEOUT = 30, 360
"""Minutes. A hosted runner of GitHub's ends every job after six hours."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One image on one architecture, as a CI service has it. Every text is safe within a shell's double quotes."""

    name: str
    id: str
    model: str
    platform: str
    variant: str
    architecture: Architecture
    target: str
    """BuildKit's name of the architecture."""
    docker_platform: str
    runner: Runner
    arguments: str
    """What comes after `drivebuild image`."""
    tag: str
    dockerfile: str
    recipe: str
    minutes: float | None
    """Of what the shared jobs leave to do, from build records."""
    minutes_alone: float | None
    """With no shared job and nothing cached."""
    no_minutes: str
    """Why there is no estimate; empty where there is one."""
    timeout: int
    shared: tuple[str, ...]
    """The shared jobs that it stands on, by id."""
    cache_from: tuple[str, ...]
    cache_to: str
    base: str = ""
    """The base image, where drivebuild makes it itself: one for all jobs."""
    base_id: str = ""
    change: Change = ""
    needs: tuple[str, ...] = ()
    """Words that its build wants from a person: a licence that is accepted, a profile."""


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One stage that a shared job builds, with all below it."""

    stage: str
    digest: str
    tag: str
    """One of the images that have it."""
    arguments: str
    cache: str
    """Name for a registry's cache, with the stage's digest in it: where it exists, the stage was built."""
    moving: str
    """The same without digest: what an older one left below it is still of use."""
    saves: float | None
    """Minutes that the images would take longer together without it."""


class SharedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What several images of a platform and architecture need, on one machine."""

    name: str
    id: str
    platform: str
    architecture: Architecture
    target: str
    docker_platform: str
    runner: Runner
    minutes: float | None
    no_minutes: str
    timeout: int
    images: int
    builds: tuple[Build, ...]
    script: str
    """The builds, a line each: arguments, cache, moving, with tabs between them."""
    base: str = ""
    """The base image, where drivebuild makes it itself: one for all jobs."""
    base_id: str = ""


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """The images of one tag on all its architectures, to be put under one index."""

    name: str
    id: str
    model: str
    platform: str
    variant: str
    tag: str
    ids: tuple[str, ...]
    targets: tuple[str, ...]
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A plan on one architecture, before it is a row."""

    plan: Plan
    architecture: Architecture
    digests: Mapping[str, str]
    change: Change = ""

    @property
    def id(self) -> str:
        """A name that any CI service takes."""
        return f"{target_name(self.plan)}-{TARGETS[self.architecture]}"

    @property
    def base(self) -> str:
        """The base image that drivebuild makes itself; empty where it comes from a registry."""
        base = self.plan.platform.base
        return base.image if base.bootstrap else ""

    @property
    def base_id(self) -> str:
        """A name for that on this architecture, that any CI service takes."""
        name = self.base.rpartition("/")[2].replace(":", "-")
        return f"{name}-{TARGETS[self.architecture]}" if name else ""

    @property
    def group(self) -> tuple[str, Architecture]:
        """What stages can be shared within."""
        return self.plan.platform.name, self.architecture


def existing(catalog: Catalog, *, elsewhere: bool = False) -> Iterator[Plan]:
    """Yield the plans of all images whose Dockerfiles are committed.

    With `elsewhere` also those of every other platform that has a model's locks, in all variants.
    """
    if not elsewhere:
        yield from all_plans(catalog)
        return
    seen: set[str] = set()
    for plan in (*all_plans(catalog), *_elsewhere(catalog)):
        if plan.tag not in seen:
            seen.add(plan.tag)
            yield plan


def _elsewhere(catalog: Catalog) -> Iterator[Plan]:
    for model in catalog.models.values():
        for name, platform in catalog.platforms.items():
            akin = model.platform in (name, platform.twin, platform.locks) or platform.accelerator == "cpu"
            for variant in platform.variants if akin else ():
                try:
                    yield make_plan(catalog, model.name, platform=name, variant=variant)
                except PlanError:
                    # No locks, or a compiler that is not there: such an image does not exist.
                    continue


def needed_words(plan: Plan) -> tuple[str, ...]:
    """Return the options that a build of the plan wants from a person."""
    licences = (stage.inputs["eula"]["name"] for stage in plan.stages if stage.inputs.get("eula"))
    words = [f"--accept-{name}-eula" for name in dict.fromkeys(licences)]
    return (*words, *(["--profile"] if plan.variant == "pgo" and not plan.profile else []))


def entries(plans: Iterable[Plan], digester: Digester) -> Iterator[Entry]:
    """Yield each plan once for each of its architectures."""
    for plan in plans:
        digests = digester.digests(plan)
        for architecture in plan.architectures:
            yield Entry(plan=plan, architecture=architecture, digests=digests)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of some stages, and those of which nobody knows."""

    seconds: float
    recorded: int
    rough: tuple[str, ...]
    """Stages that take minutes and of which there is no record; the plan's rough figure is in the seconds."""
    guessed: float = 0.0
    """Seconds of those."""

    def minutes(self) -> float | None:
        """Return minutes from records, or None where more than a tenth of them would be guessed."""
        known = self.recorded and self.guessed <= GUESSED * self.seconds
        return round(self.seconds / 60, 1) if known else None

    def why_not(self, entry: Entry) -> str:
        """Return why there are no minutes, as a sentence."""
        platform, architecture = entry.group
        if self.minutes() is not None:
            return ""
        what = ", ".join(sorted(self.rough)) if self.recorded else platform
        return f"no build of {what} on {architecture} is recorded here"

    def timeout(self) -> int:
        """Return minutes after which a job is given up: three times the estimate, in tens."""
        return min(MOST_TIMEOUT, max(LEAST_TIMEOUT, math.ceil(3 * self.seconds / 600) * 10))


def seconds_of(entry: Entry, stage: str, minutes: int, seconds: Seconds) -> tuple[float, bool]:
    """Return what a stage takes, and whether that was measured: else it is the plan's rough figure."""
    found = seconds(entry.digests[stage], entry.plan.platform.name, stage, entry.architecture)
    return (found, True) if found is not None else (60.0 * minutes, False)


@dataclass(slots=True)
class _Sum:
    """An estimate while stages are added."""

    seconds: float = 0.0
    guessed: float = 0.0
    recorded: int = 0
    rough: list[str] = field(default_factory=list)

    def add(self, stage: StageSpec, took: float, *, measured: bool) -> None:
        self.seconds += took
        self.recorded += measured
        if not measured and stage.minutes:
            self.rough.append(stage.name)
            self.guessed += took

    def whole(self) -> Estimate:
        return Estimate(self.seconds, self.recorded, tuple(self.rough), self.guessed)


def estimates(entry: Entry, seconds: Seconds, done: frozenset[str]) -> tuple[Estimate, Estimate]:
    """Return what all stages of an image take, and what those take that are not among the digests in `done`."""
    alone, left = _Sum(), _Sum()
    for stage in entry.plan.stages:
        took, measured = seconds_of(entry, stage.name, stage.minutes, seconds)
        alone.add(stage, took, measured=measured)
        if entry.digests[stage.name] in done:
            # Nothing is left to do, and that is known.
            left.recorded += 1
        else:
            left.add(stage, took, measured=measured)
    return alone.whole(), left.whole()


def row_of(
    entry: Entry,
    *,
    runner: Runner,
    seconds: Seconds,
    jobs: Iterable[SharedJob] = (),
    done: frozenset[str] = frozenset(),
) -> Row:
    """Return the row of an image; `jobs` are the shared ones of its group, `done` what they leave built."""
    plan, target = entry.plan, TARGETS[entry.architecture]
    own = frozenset(entry.digests.values())
    used = [(job, build) for job in jobs for build in job.builds if build.digest in own]
    alone, left = estimates(entry, seconds, done)
    return Row(
        name=f"{plan.model.name} {plan.platform.name} {plan.variant} {entry.architecture}",
        id=entry.id,
        model=plan.model.name,
        platform=plan.platform.name,
        variant=plan.variant,
        architecture=entry.architecture,
        target=target,
        docker_platform=f"linux/{target}",
        runner=runner,
        arguments=" ".join(plan.arguments),
        tag=plan.tag,
        dockerfile=plan.dockerfile,
        recipe=entry.digests["image"],
        minutes=None if alone.minutes() is None else left.minutes(),
        minutes_alone=alone.minutes(),
        no_minutes=alone.why_not(entry),
        timeout=left.timeout(),
        shared=tuple(dict.fromkeys(job.id for job, _ in used)),
        cache_from=tuple(build.cache for _, build in used),
        cache_to=f"{plan.platform.name}-{target}-{plan.model.name}-{plan.variant}",
        base=entry.base,
        base_id=entry.base_id,
        change=entry.change,
        needs=needed_words(plan),
    )


def merges_of(rows: Iterable[Row]) -> tuple[Merge, ...]:
    """Return one merge for each tag of the rows."""
    by_tag: dict[str, list[Row]] = {}
    for row in rows:
        by_tag.setdefault(row.tag, []).append(row)
    return tuple(
        Merge(
            name=f"{first.model} {first.platform} {first.variant}",
            id=first.id.removesuffix(f"-{first.target}"),
            model=first.model,
            platform=first.platform,
            variant=first.variant,
            tag=tag.partition(":")[2],
            ids=tuple(row.id for row in members),
            targets=tuple(row.target for row in members),
            recipe=first.recipe,
        )
        for tag, members in by_tag.items()
        for first in members[:1]
    )

"""`matrix`: every image as a row for CI, what several of them need first, and which of them changed since a commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from builder.cli.main import Settings, app
from builder.cli.matrixfilter import filter_tests
from builder.cli.options import known_architecture
from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from builder.plan.stage import Plan
    from builder.recipe.types import Architecture
    from builder.render.keys import Digester
    from builder.render.matrix import Merge, Row, Runner, Seconds, SharedJob
    from builder.source.since import Past

__all__ = ["Since", "say_past"]

Format = Literal["table", "json", "github", "gitlab", "bake"]
FORMATS: tuple[Format, ...] = ("table", "json", "github", "gitlab", "bake")
PARTS = ("images", "shared", "merges")
RUNNERS: Mapping[str, Mapping[str, str]] = {
    "gitlab": {"x86_64": "saas-linux-medium-amd64", "aarch64": "saas-linux-medium-arm64"},
    "": {"x86_64": "ubuntu-24.04", "aarch64": "ubuntu-24.04-arm"},
}
"""Hosted machines of the architecture itself: emulation would take many times as long."""

Since = Annotated[
    str,
    typer.Option(
        "--since", metavar="REV", help="Only images whose rendered text or inputs changed between a commit and now."
    ),
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="KEY=PATTERN",
        help="Only rows that fit, such as platform=cann-* or variant!=lto; a key twice means either.",
    ),
]
All = Annotated[
    bool,
    typer.Option(
        "--all", help="Also what wants a licence or a profile of yours, and platforms that no Dockerfile is kept for."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is printed, in one form or another."""

    plans: tuple[Plan, ...]
    rows: tuple[Row, ...]
    jobs: tuple[SharedJob, ...]
    merges: tuple[Merge, ...]
    past: Past | None
    removed: tuple[str, ...]


@app.command()
def matrix(
    context: typer.Context,
    since: Since = "",
    filters: Filters = None,
    everything: All = False,
    runner: Annotated[
        list[str] | None,
        typer.Option("--runner", metavar="ARCH=LABEL[,LABEL]", help="The runner's labels for an architecture."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help="table, json, github, gitlab or bake.")
    ] = "table",
    part: Annotated[
        str, typer.Option("--part", metavar="PART", help="For github: images, shared or merges.")
    ] = "images",
    page: Annotated[int, typer.Option("--page", min=0, metavar="N", help="For github: the Nth 256 rows.")] = 0,
    github_output: Annotated[
        Path | None,
        typer.Option("--github-output", metavar="FILE", help='Append images=, shared=, …; FILE is "$GITHUB_OUTPUT".'),
    ] = None,
    timings: Annotated[
        Path | None,
        typer.Option(
            "--timings", metavar="DIR", help="Take in what other machines measured: timings.json anywhere below DIR."
        ),
    ] = None,
    gitlab_include: Annotated[
        str, typer.Option("--gitlab-include", metavar="PATH", help="The repository's file with the three hidden jobs.")
    ] = "",
) -> None:
    """List every image, with what CI needs to build it; stages that several need are jobs of their own, built first."""
    chosen = _form(form, part, page=page, github_output=github_output, gitlab_include=gitlab_include)
    settings: Settings = context.obj
    if timings is not None:
        _take(timings)
    names = _runner(settings, runner or [], chosen)
    with _uncollected():
        found = _found(settings, since=since, filters=filters or [], everything=everything, runner=names)
    _say_past(found, since)
    if github_output is not None:
        _append(github_output, found, page)
        return
    printed: dict[Format, Callable[[], str]] = {
        "json": lambda: _json(found),
        "github": lambda: _github(found, part, page),
        "gitlab": lambda: _gitlab(found, gitlab_include),
        "bake": lambda: _bake(settings, found),
    }
    if chosen == "table":
        from builder.cli.matrixview import print_matrix

        print_matrix(found.rows, found.jobs, tags=len(found.merges), since=found.past is not None)
    else:
        typer.echo(printed[chosen]().rstrip("\n"))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector still: of hundreds of plans nothing is to be freed, and to look takes a sixth of the time.

    Nor at the end of the program, where Python looks once more.
    """
    import gc

    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


def _form(form: str, part: str, *, page: int, github_output: Path | None, gitlab_include: str) -> Format:
    from builder.recipe.suggest import one_of

    if form not in FORMATS:
        raise UsageError(f"--format: there is no {form!r}", hint=one_of(form, FORMATS))
    if part not in PARTS:
        raise UsageError(f"--part: there is no {part!r}", hint=one_of(part, PARTS))
    if form != "github" and (part != "images" or page or github_output is not None):
        raise UsageError("--part, --page and --github-output are for --format github")
    if form != "gitlab" and gitlab_include:
        raise UsageError("--gitlab-include is for --format gitlab")
    if github_output is not None and part != "images":
        raise UsageError("--github-output has all parts: leave --part out")
    return form


def _runner(settings: Settings, words: list[str], form: Format) -> Callable[[Architecture], Runner]:
    """Return what names an architecture's runner: the option, else the configuration, else a hosted machine like it."""
    labels: dict[str, tuple[str, ...]] = {
        name: (label,) for name, label in RUNNERS.get(form, RUNNERS[""]).items()
    } | dict(settings.config().runners)
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not all(text.split(",")):
            raise UsageError(f"--runner {word!r}: expected ARCH=LABEL[,LABEL]")
        labels[known_architecture(name, "--runner")] = tuple(text.split(","))
    return lambda architecture: labels[architecture][0] if len(labels[architecture]) == 1 else labels[architecture]


def _found(
    settings: Settings, *, since: str, filters: list[str], everything: bool, runner: Callable[[Architecture], Runner]
) -> _Found:
    from builder.render.keys import Digester
    from builder.render.matrix import entries, existing, merges_of, needed_words, row_of
    from builder.render.sharedjobs import Shared, shared_jobs
    from builder.source.catalog import read_templates

    templates, seconds = read_templates(), _seconds()
    digester = Digester(templates)
    planned = tuple(existing(settings.catalog(), elsewhere=everything))
    plans = planned if everything else tuple(plan for plan in planned if not needed_words(plan))
    kept = list(entries(plans, digester))
    past: Past | None = None
    removed: tuple[str, ...] = ()
    tests = filter_tests(filters, kept, since=bool(since))
    if since:
        past, removed = _past(settings, since, planned, digester)
        changes = [(entry, past.change(entry, digester, templates)) for entry in kept]
        kept = [replace(entry, change=change) for entry, change in changes if change]
    kept = [entry for entry in kept if all(test(entry) for test in tests)]
    shared, none = shared_jobs(kept, seconds=seconds, runner=runner), Shared()
    rows = tuple(
        row_of(
            entry,
            runner=runner(entry.architecture),
            seconds=seconds,
            jobs=shared.get(entry.group, none).jobs,
            done=shared.get(entry.group, none).done,
        )
        for entry in kept
    )
    jobs = tuple(job for each in shared.values() for job in each.jobs)
    return _Found(plans=plans, rows=rows, jobs=jobs, merges=merges_of(rows), past=past, removed=removed)


def _take(folder: Path) -> None:
    from builder.engine.timings import take_timings

    typer.echo(f"{take_timings(folder)} timings of other machines taken in", err=True)


def _seconds() -> Seconds:
    from builder.engine.timings import read_timings

    timings = read_timings()

    def seconds(digest: str, platform: str, stage: str, architecture: str) -> float | None:
        return timings.seconds(digest, platform=platform, stage=stage, architecture=architecture)

    return seconds


def _past(settings: Settings, rev: str, planned: Sequence[Plan], digester: Digester) -> tuple[Past, tuple[str, ...]]:
    """Return what was, and the images of it that are no more."""
    from builder.engine.process import SystemRunner
    from builder.source.since import key_of, past_of

    keys = [key_of(plan) for plan in planned]
    past = past_of(rev, settings.recipes, keys, SystemRunner(), digester=digester)
    return past, tuple(sorted(set(past.images) - set(keys)))


def _say_past(found: _Found, rev: str) -> None:
    """Say on standard error what a reader of the rows could not see."""
    if found.past is None:
        return
    say_past(found.past)
    if found.removed:
        typer.echo(f"gone since {rev}: {', '.join(found.removed)}", err=True)


def say_past(past: Past) -> None:
    """Say on standard error what is to be known of a comparison with a commit."""
    for note in past.notes:
        typer.echo(f"note: {note}", err=True)
    if past.lost:
        typer.echo(f"warning: {past.lost}", err=True)
        typer.echo("warning: so everything counts as changed; what did not change comes from the cache", err=True)


def _append(file: Path, found: _Found, page: int) -> None:
    from builder.render.matrixci import github_lines

    text = github_lines(found.rows, found.jobs, found.merges, page=page)
    try:
        with file.open("a", encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        raise UsageError(f"--github-output {file}: {error.strerror}") from error


def _github(found: _Found, part: str, page: int) -> str:
    from builder.render.matrixci import github_include

    parts: dict[str, Sequence[Row | SharedJob | Merge]] = {
        "images": found.rows,
        "shared": found.jobs,
        "merges": found.merges,
    }
    return github_include(parts[part], page=page)


def _gitlab(found: _Found, include: str) -> str:
    from builder.render.matrixci import gitlab_pipeline

    return gitlab_pipeline(found.rows, found.jobs, found.merges, include=include)


def _bake(settings: Settings, found: _Found) -> str:
    from builder.render.dockerfile import render_dockerfile
    from builder.render.matrixci import bake_file
    from builder.render.tree import all_plans
    from builder.source.catalog import read_templates

    committed, templates = {plan.tag for plan in all_plans(settings.catalog())}, read_templates()

    def inline(plan: Plan) -> str | None:
        return None if plan.tag in committed else render_dockerfile(plan, templates)

    return bake_file(found.plans, found.rows, found.jobs, inline=inline)


def _json(found: _Found) -> str:
    import msgspec

    data: dict[str, Any] = {"images": found.rows, "shared": found.jobs, "merges": found.merges}
    if found.past is not None:
        data["since"] = {"commit": found.past.commit, "lost": found.past.lost, "removed": list(found.removed)}
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()

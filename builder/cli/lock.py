"""`lock`: resolve Python dependencies to hashes, record what upstream does not publish, move pinned commits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.errors import DriftError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from builder.cli.locksources import Targets
    from builder.plan.requirements import LockInput

    Solver = Callable[[LockInput], tuple[str, ...]]


@app.command()
def lock(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Models or platforms, uv itself, or sources without a published checksum; all by default.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Resolve nothing; exit with 8 when a lock is missing, stale or surplus.")
    ] = False,
    update: Annotated[
        list[str] | None,
        typer.Option(
            "--update",
            metavar="[NAME]",
            help="A git source: move it to where its branch or tag is now. A model or platform: resolve it anew, also "
            "what is current. A source without a published checksum: record it anew. `all`: every Python lock. Without "
            "a name: propose all that can be moved, as the body of a pull request, and write nothing.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")] = False,
    exclude_newer: Annotated[
        str, typer.Option("--exclude-newer", metavar="DATE", help="Take no Python package that is newer: YYYY-MM-DD.")
    ] = "",
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="DIR",
            help="Look there, too, for sources without a published checksum; a proposal tries patches there.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="Of a proposal: only what this model's image is made from.")
    ] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Of a proposal: write what needs no person's decision, and say what does.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Of a proposal: print JSON.")] = False,
) -> None:
    """Resolve Python dependencies with uv to versions and hashes, for every platform and architecture.

    Of sources, weights and base images whose checksum nobody publishes, record what is seen first; a later difference
    is an error. A lock names no index: uv and pip use the ones they are configured for. Nothing of a package runs on
    this machine: a source archive that does not state what it needs is asked in a container. The locks of your own
    recipes are written to the last folder given with --recipes.
    """
    settings: Settings = context.obj
    if update and "" in update:
        if names or len(update) > 1 or check or dry_run:
            hint = "names go behind --update, a model behind --model; without --write nothing is written"
            raise UsageError("--update without a name proposes all that can be moved", hint=hint)
        _propose(settings, model, store, _day(exclude_newer), write=write, as_json=as_json)
        return
    if model or write or as_json:
        raise UsageError("--model, --write and --json belong to --update without a name")
    from builder.cli.locksources import choose, record_seen, update_commits
    from builder.source.lock import stale
    from builder.source.store import Store

    catalog = settings.catalog()
    targets = choose(catalog, names or [], update or [])
    outdated = tuple(stale(targets.locks, catalog.locks))
    if check:
        if update or dry_run or exclude_newer:
            raise UsageError("--check changes nothing: leave out --update, --dry-run and --exclude-newer")
        _check(outdated, _unsound(settings, targets))
        return
    newest, shelf, folder = _day(exclude_newer), Store(store) if store else None, _folder(settings)
    update_commits(settings, targets.commits, dry_run=dry_run)
    wanted = tuple(dict.fromkeys((*outdated, *targets.renewed)))
    solver = _solver(settings, newest)
    for item in wanted:
        _resolve_one(settings, item, None if dry_run else folder, newest, solver)
    if targets.locks or targets.renewed:
        number = len(dict.fromkeys((*targets.locks, *targets.renewed)))
        typer.echo(f"{len(wanted)} locks would be written" if dry_run else f"{number} locks are current")
    record_seen(settings, targets, folder, shelf, dry_run=dry_run)


def _propose(
    settings: Settings, model: str, store: Path | None, newest: date | None, *, write: bool, as_json: bool
) -> None:
    from builder.cli.lockupdate import propose
    from builder.source.lock import write_lock

    def written(item: LockInput, lines: tuple[str, ...]) -> Path:
        folder = _folder(settings)
        write_lock(folder, item, lines, newest=newest)
        return folder / item.path

    propose(
        settings,
        model=model,
        store=store,
        resolve=_solver(settings, newest),
        write_lock=written,
        write=write,
        as_json=as_json,
    )


def _check(todo: tuple[LockInput, ...], unsound: list[str]) -> None:
    if todo or unsound:
        lines = [f"stale: locks/{item.path}" for item in todo] + unsound
        number = len(todo) + bool(unsound)
        message = f"{number} lock{'s are' if number > 1 else ' is'} not current"
        raise DriftError("\n".join((message, *lines)), hint="run `drivebuild lock`")
    typer.echo("all locks are current")


def _unsound(settings: Settings, targets: Targets) -> list[str]:
    """Return what is wrong with the record of first looks: lines that name nothing, and names that have no line.

    What was never seen is no mistake by itself: a machine without those hosts could not mend it.
    """
    from builder import paths
    from builder.plan.firstseen import FIRST_SEEN, parse_records, recorded, unpublished
    from builder.source.firstseen import read_records, surplus

    catalog = settings.catalog()
    known = parse_records(catalog.locks.get(FIRST_SEEN, ""))
    where = f"locks/{FIRST_SEEN}"
    asked = (thing for thing in targets.seen if thing.key in targets.asked)
    lines = [f"missing: {where}: {thing.key}" for thing in asked if not recorded(thing, known)]
    if targets.everything:
        folder = settings.recipes[-1] if settings.recipes else paths.RECIPES
        gone = surplus(read_records(folder / "locks"), unpublished(catalog))
        lines += [f"surplus: {where}: {key}: {reason}" for key, reason in gone.items()]
    return lines


def _day(text: str) -> date | None:
    """Return the day of --exclude-newer.

    Raises:
        UsageError: for what is not YYYY-MM-DD.
    """
    from datetime import datetime, timezone

    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc).date() if text else None
    except ValueError:
        raise UsageError(f"--exclude-newer {text!r}: expected a day as YYYY-MM-DD") from None


def _folder(settings: Settings) -> Path:
    from builder import paths

    if settings.recipes:
        return settings.recipes[-1] / "locks"
    if not paths.in_checkout():
        hint = "give your own folder: drivebuild --recipes DIR lock"
        raise SourceError("the locks of an installed drivebuild are part of it", hint=hint)
    return paths.RECIPES / "locks"


def _resolve_one(settings: Settings, item: LockInput, folder: Path | None, newest: date | None, solver: Solver) -> None:
    """Resolve one lock and say what changes; without a folder nothing is written."""
    from builder.source.lock import changes, write_lock

    typer.echo(f"resolving {item.path} ...")
    lines = solver(item)
    if folder:
        write_lock(folder, item, lines, newest=newest)
    typer.echo(f"          {item.path}: {len(lines)} packages")
    before = settings.catalog().locks.get(item.path)
    if before:
        for line in changes(before, lines) or ("no package changes",):
            typer.echo(f"            {line}")


def _solver(settings: Settings, newest: date | None) -> Solver:
    """Return what resolves a lock, with uv as the site's network wants it."""
    from builder.cli.lockarchives import archives
    from builder.engine.process import SystemRunner
    from builder.source.lock import resolve

    environment = _environment(settings)
    known = archives(settings, environment, newest)

    def run(argv: tuple[str, ...]) -> tuple[int, str]:
        done = SystemRunner().run(argv, env=environment)
        return done.code, f"{done.text}\n{done.complaint}"

    return lambda item: resolve(item, run, known, newest=newest)


def _environment(settings: Settings) -> dict[str, str]:
    """Return what uv is told of the site's network."""
    from builder.source.fetch import environment_of

    network = settings.network()
    index = {"UV_DEFAULT_INDEX": network.index} if network.index else {}
    return {**environment_of(network), **index}

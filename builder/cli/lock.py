"""`lock`: resolve the Python dependencies of platforms and models to hashes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.errors import DriftError, SourceError

if TYPE_CHECKING:
    from builder.plan.requirements import LockInput


@app.command()
def lock(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models or platforms, or uv itself; all by default.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Resolve nothing; exit with 8 when a lock is missing or stale.")
    ] = False,
    update: Annotated[bool, typer.Option("--update", help="Resolve anew also what is current.")] = False,
) -> None:
    """Resolve Python dependencies with uv to versions and hashes, for every platform and architecture.

    A lock names no index: uv and pip use the ones they are configured for. The locks of your own recipes are
    written to the last folder given with --recipes.
    """
    from builder.plan.requirements import lock_inputs
    from builder.source.lock import stale

    settings: Settings = context.obj
    catalog = settings.catalog()
    wanted = _named(lock_inputs(catalog), names or [])
    todo = wanted if update else tuple(stale(wanted, catalog.locks))
    if check:
        _check(todo)
        return
    folder = _folder(settings)
    for item in todo:
        _resolve_one(item, folder)
    typer.echo(f"{len(wanted)} locks are current")


def _named(inputs: tuple[LockInput, ...], names: list[str]) -> tuple[LockInput, ...]:
    from builder.errors import PlanError
    from builder.recipe.suggest import one_of

    known = {part for item in inputs for part in _names_of(item)}
    for name in names:
        if name not in known:
            raise PlanError(f"no lock belongs to {name!r}", hint=one_of(name, known))
    return tuple(item for item in inputs if not names or set(_names_of(item)) & set(names))


def _names_of(item: LockInput) -> tuple[str, str]:
    platform, _, rest = item.path.partition("/")
    return platform, rest.rsplit(".", 2)[0]


def _check(todo: tuple[LockInput, ...]) -> None:
    if todo:
        lines = "\n".join(f"stale: locks/{item.path}" for item in todo)
        raise DriftError(f"{len(todo)} locks are not current\n{lines}", hint="run `drivebuild lock`")
    typer.echo("all locks are current")


def _folder(settings: Settings) -> Path:
    from builder import paths

    if settings.recipes:
        return settings.recipes[-1] / "locks"
    if not paths.in_checkout():
        hint = "give your own folder: drivebuild --recipes DIR lock"
        raise SourceError("the locks of an installed drivebuild are part of it", hint=hint)
    return paths.RECIPES / "locks"


def _resolve_one(item: LockInput, folder: Path) -> None:
    from builder.engine.process import SystemRunner
    from builder.source.lock import resolve, write_lock

    def runner(argv: tuple[str, ...]) -> tuple[int, str]:
        done = SystemRunner().run(argv)
        return done.code, f"{done.text}\n{done.complaint}"

    typer.echo(f"resolving {item.path} ...")
    lines = resolve(item, runner)
    write_lock(folder, item, lines)
    typer.echo(f"          {item.path}: {len(lines)} packages")

"""`patch check`: whether every patch, copy and edit of the recipes fits the sources in a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson, Options, Pins, parse_options, parse_pins
from builder.errors import SourceError

if TYPE_CHECKING:
    from builder.source.patchcheck import Found, Report

patch_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check patches against a store's sources.")
app.add_typer(patch_app, name="patch")


@patch_app.callback()
def patch() -> None:
    """Check patches against a store's sources."""


@patch_app.command()
def check(
    context: typer.Context,
    store: Annotated[Path, typer.Option("--store", metavar="DIR", help="The store that has the sources.")],
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Models; all of them by default.")
    ] = None,
    platforms: Annotated[
        list[str] | None,
        typer.Option(
            "--platform", "-p", metavar="P", help="A platform; by default the model's own and every CPU platform."
        ),
    ] = None,
    options: Options = None,
    pins: Pins = None,
    as_json: AsJson = False,
) -> None:
    """Try every patch, copy, edit and removal on the files of a store, without an engine; exit with 5 for a misfit.

    The very code that the builds run is what tries them. All misfits of all models are reported at once.
    """
    from time import perf_counter

    from builder.cli.inspect import print_json
    from builder.engine.folders import cache_folder
    from builder.engine.process import SystemRunner
    from builder.source.patchcheck import check
    from builder.source.patchplan import plan_checks
    from builder.source.store import Store

    started = perf_counter()
    settings: Settings = context.obj
    catalog = settings.catalog()
    checks = plan_checks(
        catalog,
        models or tuple(catalog.models),
        platforms=platforms or (),
        options=parse_options(options),
        pinned=parse_pins(pins),
    )
    report = check(checks, Store(store), cache_folder() / "packs", SystemRunner())
    if as_json:
        print_json(_data(report))
    if report.found:
        raise _misfits(report)
    if not as_json:
        took = f"{perf_counter() - started:.2f} s"
        typer.echo(f"all steps fit: {_counted(report)}, on {report.files} files of upstream, in {took}")


def _counted(report: Report) -> str:
    return ", ".join(f"{count} of {kind}" for kind, count in sorted(report.steps.items()))


def _data(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    found = [asdict(item) for item in report.found]
    return {"format": 1, "fits": not found, "steps": dict(report.steps), "files": report.files, "found": found}


def _misfits(report: Report) -> SourceError:
    states = [item.state for item in report.found]
    total = sum(report.steps.values())
    head = f"{states.count('misfit')} of {total} steps do not fit"
    if states.count("taken"):
        head += f", {states.count('taken')} are in upstream already"
    if states.count("not tried"):
        head += f", {states.count('not tried')} were not tried because of these"
    hint = "look at the pinned commits: --pin NAME=COMMIT tries another one"
    return SourceError("\n".join([head, *(_described(item) for item in report.found)]), hint=hint)


def _described(item: Found) -> str:
    lines = [f"{item.where} of {', '.join(item.users)}: {item.step}", f"  for {item.upstream}"]
    return "\n".join([*lines, *(f"  {line}" for line in item.message.splitlines())])

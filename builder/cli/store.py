"""`store`: what a store holds, whether it is sound, and what may go from it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.live import human_bytes
from builder.cli.main import Settings, app
from builder.cli.options import AsJson, Pins, parse_pins
from builder.errors import PlanError, SourceError, UsageError

if TYPE_CHECKING:
    from builder.plan.stage import Plan
    from builder.recipe.types import Architecture
    from builder.recipe.types import Platform as PlatformRecipe
    from builder.source.audit import Freed, Problem
    from builder.source.store import Store

Folder = Annotated[Path, typer.Option("--store", metavar="DIR", help="The store.")]

store_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List, verify and clean a store of fetched sources."
)
app.add_typer(store_app, name="store")


@store_app.command("ls")
def list_entries(store: Folder, as_json: AsJson = False) -> None:
    """List what a store holds: kind, size, name, and where it came from."""
    from dataclasses import asdict

    from builder.cli.inspect import print_json, print_table
    from builder.source.audit import partials

    opened = _open(store)
    entries = opened.entries()
    contents = {entry.sha256: entry.size for entry in entries}
    if as_json:
        data = {"entries": [asdict(entry) for entry in entries], "size": sum(contents.values())}
        print_json({**data, "partial": [path.name for path in partials(opened)]})
        return
    rows = [(entry.kind, human_bytes(entry.size), entry.file, entry.sha256[:12], entry.origin) for entry in entries]
    if rows:
        print_table(rows, header=("KIND", "SIZE", "FILE", "SHA256", "FROM"))
    halves = len({path.name.removesuffix(".json").removesuffix(".part") for path in partials(opened)})
    unfinished = f"; {halves} unfinished, which the next fetch goes on from" if halves else ""
    typer.echo(f"{len(entries)} keys, {len(contents)} contents, {human_bytes(sum(contents.values()))}{unfinished}")


@store_app.command()
def verify(store: Folder, as_json: AsJson = False) -> None:
    """Hash every content of a store and account for every file; exit with 5 when something is wrong."""
    from builder.cli.inspect import print_json

    opened = _open(store)
    problems = opened.verify()
    if as_json:
        print_json({"problems": [{"path": item.path, "what": item.what} for item in problems]})
        if problems:
            raise typer.Exit(SourceError.exit_code)
        return
    require_sound(opened, problems)
    entries = opened.entries()
    contents = {entry.sha256: entry.size for entry in entries}
    total = human_bytes(sum(contents.values()))
    typer.echo(f"sound: {len(entries)} keys, {len(contents)} contents, {total}, all of them hashed")


def require_sound(store: Store, problems: tuple[Problem, ...]) -> None:
    """Refuse a store with problems.

    Raises:
        SourceError: naming every file that is not as it should be.
    """
    if problems:
        lines = "\n".join(f"  {item.path}: {item.what}" for item in problems)
        hint = "remove the files that are named, and fetch again: only what is missing is asked for"
        raise SourceError(f"{store.root}: {len(problems)} files are not as they should be\n{lines}", hint=hint)


@store_app.command("gc")
def collect(
    context: typer.Context,
    store: Folder,
    keep_for: Annotated[
        list[str] | None,
        typer.Option("--keep-for", metavar="MODEL", help="Keep only what these models need; may be given repeatedly."),
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option("--platform", "-p", metavar="P", help="With --keep-for: on these platforms; default: on all."),
    ] = None,
    pin: Pins = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --keep-for: do not ask.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove contents that no key names, and unfinished files that no running fetch holds.

    With --keep-for also all that the named models need on no platform, architecture, variant or option; what that is
    gets shown, and asked about, first.
    """
    opened = _open(store)
    keep = _kept(context.obj, keep_for, platform or [], parse_pins(pin)) if keep_for else None
    if keep is None and (platform or pin):
        raise UsageError("--platform and --pin narrow --keep-for, which is missing")
    if keep is None or dry:
        freed = opened.collect(keep, dry=dry)
        _print_freed(freed, dry=dry, as_json=as_json)
        return
    if not yes:
        _agree(opened.collect(keep, dry=True), as_json=as_json)
    _print_freed(opened.collect(keep), dry=False, as_json=as_json)


def _kept(settings: Settings, models: list[str], platforms: list[str], pins: Mapping[str, str]) -> set[str]:
    """Return the keys of all that the models need, whatever is chosen about them.

    Raises:
        PlanError: for a model or platform that is not there, and for a model that none of the platforms is for.
    """
    from builder.plan.needs import plan_needs
    from builder.plan.select import known

    catalog = settings.catalog()
    for name in models:
        known(catalog.models, name, "model")
    named = {name: known(catalog.platforms, name, "platform") for name in platforms} or catalog.platforms
    keys: set[str] = set()
    for name in dict.fromkeys(models):
        plans, refused = _all_plans(settings, name, named.values(), pins)
        if not plans:
            raise refused[0]
        keys |= {need.key for plan, arch in plans for need in plan_needs(catalog, plan, arch)}
        on = ", ".join(dict.fromkeys(plan.platform.name for plan, _ in plans))
        typer.echo(f"kept: what {name} needs on {on}", err=True)
    return keys


def _all_plans(
    settings: Settings, model: str, platforms: Iterable[PlatformRecipe], pins: Mapping[str, str]
) -> tuple[list[tuple[Plan, Architecture]], list[PlanError]]:
    """Return a model's plans: each variant on each platform and architecture, each option's choices, each compiler."""
    from builder.plan.allocator import system_ways, with_option

    catalog = settings.catalog()
    ways = (way for system in catalog.systems.values() for way in system_ways(system))
    options = with_option(catalog.models[model], ways).options
    choices = [{}, *({option.name: choice} for option in options for choice in option.choices)]
    # The pinned commits are kept beside the recipe's own.
    pinned = [{}, pins] if pins else [{}]
    found, refused = [], []
    for one in platforms:
        # Only of a compiler that is fetched, the store keeps something.
        compilers = ["", *(item.name for item in catalog.toolchains.values() if item.source)]
        for arch, variant, chosen, pin, name in product(one.architectures, one.variants, choices, pinned, compilers):
            try:
                plan = settings.plan(
                    model,
                    platform=one.name,
                    variant=variant,
                    options=chosen,
                    architecture=arch,
                    pinned=pin,
                    toolchain=name,
                )
            except PlanError as error:
                # Not every platform is there for every model.
                refused.append(error)
            else:
                found.append((plan, arch))
    return found, refused


def _agree(freed: Freed, *, as_json: bool) -> None:
    """Show what would go, and ask.

    Raises:
        UsageError: where there is nobody to be asked.
        typer.Abort: when the answer is no.
    """
    if not (freed.entries or freed.objects or freed.partials):
        return
    if as_json or not sys.stdin.isatty():
        raise UsageError("gc --keep-for asks before it removes, and nobody is there", hint="--dry-run shows it; --yes")
    _print_freed(freed, dry=True, as_json=False)
    typer.confirm("Remove them?", abort=True)


def _print_freed(freed: Freed, *, dry: bool, as_json: bool) -> None:
    from builder.cli.inspect import print_json

    if as_json:
        names = {"entries": freed.entries, "objects": freed.objects, "partials": freed.partials}
        print_json({**{name: list(paths) for name, paths in names.items()}, "size": freed.size, "dry_run": dry})
        return
    for path in (*freed.entries, *freed.objects, *freed.partials):
        typer.echo(path)
    count = len(freed.entries) + len(freed.objects) + len(freed.partials)
    typer.echo(f"{'would remove' if dry else 'removed'} {count} files, {human_bytes(freed.size)}")


def _open(root: Path) -> Store:
    from builder.source.store import Store

    return Store(root)

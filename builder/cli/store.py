"""`store`: what a store holds, whether it is sound, and what may go from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.live import human_bytes
from builder.cli.main import app
from builder.cli.options import AsJson
from builder.errors import SourceError

if TYPE_CHECKING:
    from builder.source.audit import Problem
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
    store: Folder,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove contents that no key names, and unfinished files that no running fetch holds."""
    from builder.cli.inspect import print_json

    freed = _open(store).collect(dry=dry)
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

"""`promote` and `merge`: other names for what is in a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import app
from builder.cli.options import AsJson
from builder.cli.push import BuilderName
from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.engine.manifests import Tools
    from builder.engine.promote import Merged, Promoted
    from builder.engine.registry import Reference

DryRun = Annotated[bool, typer.Option("--dry-run", help="Look everything up, and change nothing.")]


@app.command()
def promote(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="What is in a registry, such as registry.example/team/model:tag.")
    ],
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The new tag, or a whole name in another repository.")],
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Also an image that failed `verify`, or that nobody verified.")
    ] = False,
    verified: Annotated[
        list[Path] | None,
        typer.Option("--verified", metavar="FILE", help="What `verify --json` printed on another machine."),
    ] = None,
    builder: BuilderName = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give a verified image of a registry another name, by its digest."""
    from builder.engine.promote import promote as promote_it
    from builder.engine.registry import reference
    from builder.engine.verified import read

    source = reference(image, option="IMAGE")
    target = _target(source, tag)
    done = promote_it(
        source,
        target,
        tools=_tools(builder, quiet=as_json),
        records=[read(path) for path in verified or ()],
        unverified=unverified,
        dry_run=dry_run,
    )
    if as_json:
        _print_json(done, dry_run=dry_run)
    else:
        _print_promoted(done, dry_run=dry_run)


def _target(source: Reference, text: str) -> Reference:
    from builder.engine.registry import reference

    if not (source.tag or source.digest):
        raise UsageError(f"IMAGE {source}: which tag or digest?", hint=f"such as {source}:TAG")
    target = reference(text if "/" in text else f"{source.repository}:{text}", option="TAG")
    if target.digest or not target.tag:
        raise UsageError(f"TAG {text!r}: a new name is a tag, and no digest", hint="such as release-1")
    if target.name == source.name and not source.digest:
        raise UsageError(f"{target} is its name already")
    return target


def _print_promoted(done: Promoted, *, dry_run: bool) -> None:
    typer.echo(f"before  {done.source} is {done.before} ({', '.join(done.architectures)})")
    if done.replaced and done.replaced != done.before:
        typer.echo(f"so far  {done.target} {'is' if dry_run else 'was'} {done.replaced}")
    for architecture, record in zip(done.architectures, done.verified, strict=True):
        said = "nobody ran verify on it" if record is None else f"{record.summary} ({record.when})"
        typer.echo(f"verify  {architecture}: {said}")
    if dry_run:
        typer.echo(f"would name it {done.target}; nothing was changed")
        return
    note = (
        "" if done.after == done.before else ", an index that holds it: this buildx makes no other name for one image"
    )
    typer.echo(f"after   {done.target} is {done.after}{note}")


@app.command()
def merge(
    target: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The index's name, such as registry.example/team/model:platform-variant."),
    ],
    digests: Annotated[
        list[str],
        typer.Argument(metavar="DIGEST...", help="What `image --push --by-digest` printed, one per architecture."),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="The tag with the recipe's hash may get another image.")
    ] = False,
    any_recipe: Annotated[
        bool, typer.Option("--any-recipe", help="Also images of different recipes, or that name none.")
    ] = False,
    builder: BuilderName = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make one multi-architecture image of what each architecture's machine has pushed."""
    from builder.engine.owntag import check_standing, own_tag
    from builder.engine.promote import merge as merge_them
    from builder.engine.registry import reference

    done = merge_them(
        reference(target, option="NAME"),
        tuple(digests),
        tools=_tools(builder, quiet=as_json),
        overwrite=overwrite,
        any_recipe=any_recipe,
        dry_run=dry_run,
    )
    if as_json:
        _print_json(done, dry_run=dry_run)
    else:
        _print_merged(done, dry_run=dry_run)
    check_standing(own_tag(done.names[0], done.recipe), done.digest, done.taken)


def _print_merged(done: Merged, *, dry_run: bool) -> None:
    verb = "would make" if dry_run else "made"
    at = f"@{done.digest}" if done.digest else ""
    typer.echo(f"{verb}  {done.names[0]}{at} ({', '.join(done.architectures)})")
    for name in done.names[1:]:
        typer.echo(f"as well {name}")
    if done.kept:
        typer.echo(f"kept    the tag with the recipe's hash is another image's, {done.kept}; --overwrite moves it")


def _tools(builder: str, *, quiet: bool) -> Tools:
    from builder.engine.builders import find_builder
    from builder.engine.manifests import Tools
    from builder.engine.process import SystemRunner

    runner = SystemRunner()
    if builder:
        find_builder(builder, runner)
    return Tools(runner=runner, builder=builder, say=lambda line: typer.echo(line, err=quiet))


def _print_json(done: Promoted | Merged, *, dry_run: bool) -> None:
    import msgspec

    typer.echo(msgspec.json.encode({**msgspec.to_builtins(done), "dry_run": dry_run}).decode())

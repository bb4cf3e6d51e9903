"""`render`: recipes to committed files, and the check that they are current."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import (
    Lto,
    Options,
    Pgo,
    Pins,
    Platform,
    Toolchain,
    Variant,
    parse_options,
    parse_pins,
    variant_of,
)
from builder.errors import DriftError, UsageError

if TYPE_CHECKING:
    from builder.plan.stage import Plan
    from builder.render.tree import Drift


@app.command()
def render(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Print one model's Dockerfile instead of writing all files.")
    ] = None,
    platform: Platform = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    option: Options = None,
    pin: Pins = None,
    toolchain: Toolchain = "",
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit with 8 when a file on disk is not what would be rendered."),
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where dockerfiles/, compose/ and schemas/ lie.")
    ] = Path(),
) -> None:
    """Render Dockerfiles, bake file, compose files, schemas and CI workflows from the recipes."""
    if model is not None:
        if check:
            raise UsageError("--check is for all files; leave MODEL out")
        settings: Settings = context.obj
        options, pins = parse_options(option), parse_pins(pin)
        chosen = variant_of(variant, lto=lto, pgo=pgo)
        _print_one(
            settings.plan(model, platform=platform, variant=chosen, options=options, pinned=pins, toolchain=toolchain)
        )
        return
    if platform or lto or pgo or variant or option or pin or toolchain:
        raise UsageError("--platform, --variant, --option, --pin and --toolchain need a MODEL")
    _render_all(context, output, check=check)


def _print_one(plan: Plan) -> None:
    from builder.render.dockerfile import render_dockerfile
    from builder.source.catalog import read_templates

    typer.echo(render_dockerfile(plan, read_templates()), nl=False)


def _render_all(context: typer.Context, output: Path, *, check: bool) -> None:
    from builder.render.tree import compare, render_tree
    from builder.source.catalog import read_templates
    from builder.source.tree import apply, read_tree

    settings: Settings = context.obj
    rendered = render_tree(settings.catalog(), read_templates(), settings.config().ci)
    on_disk = read_tree(output, rendered)
    drift = compare(rendered, on_disk)
    if check and drift:
        raise DriftError(_explain(drift, rendered, on_disk), hint="run `drivebuild render` and commit the result")
    if check:
        typer.echo(f"{len(rendered)} files are current")
        return
    apply(output, rendered, drift)
    for word, paths in (("new", drift.missing), ("changed", drift.stale), ("removed", drift.surplus)):
        for path in paths:
            typer.echo(f"{word:8} {path}")
    typer.echo(f"{len(rendered)} files are current")


def _explain(drift: Drift, rendered: dict[str, str], on_disk: dict[str, str]) -> str:
    from builder.render.tree import short_diff

    count = len(drift.missing) + len(drift.stale) + len(drift.surplus)
    lines = [f"{count} rendered file{'s are' if count > 1 else ' is'} not current"]
    lines += [f"missing: {path}" for path in drift.missing]
    lines += [f"surplus: {path}" for path in drift.surplus]
    lines += [f"stale:   {path}" for path in drift.stale]
    if drift.stale:
        first = drift.stale[0]
        lines.append(short_diff(first, on_disk[first], rendered[first]))
    return "\n".join(lines)

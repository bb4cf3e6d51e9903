"""`size`: what an image's bytes are, and what several images share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import (
    AsJson,
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
from builder.errors import BuildError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.engine.host import Engine
    from builder.footprint.layers import Layer
    from builder.footprint.measure import Footprint
    from builder.plan.stage import Plan

WIDEST = 100
"""Letters of an instruction in a terminal."""


@app.command()
def size(
    context: typer.Context,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="Models; see `drivebuild list`.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All models: what they share, and what they are together.")
    ] = False,
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    platform: Platform = "",
    option: Options = None,
    pin: Pins = None,
    toolchain: Toolchain = "",
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="The stage the image was built until.")] = "",
    tag: Annotated[str, typer.Option("--tag", metavar="T", help="The name given to the image when it was built.")] = "",
    layers: Annotated[bool, typer.Option("--layers", help="Show each layer, too.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one page with a treemap of each image.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show an image's bytes by component and distribution, byte code and what is stored twice counted apart.

    With several models: which layers they share, and what all take on one disk.
    """
    settings: Settings = context.obj
    if every == bool(models):
        raise UsageError("name models, or --all", hint="such as `drivebuild size streampetr`")
    chosen = tuple(models or settings.catalog().models)
    if tag and len(chosen) > 1:
        raise UsageError("--tag names one image, and several models are asked for")
    plans = [
        settings.plan(
            model,
            platform=platform,
            variant=variant_of(variant, lto=lto, pgo=pgo),
            options=parse_options(option),
            pinned=parse_pins(pin),
            toolchain=toolchain,
        )
        for model in dict.fromkeys(chosen)
    ]
    engine, found = _images(plans, until=until, tag=tag)
    if len(found) == 1 or html is not None:
        footprints = [_footprint(engine, name, chain, plan) for name, chain, plan in found]
    else:
        footprints = []
    if html is not None:
        _write(html, footprints, found)
    if as_json:
        _print_json(footprints, found)
    elif len(found) == 1:
        _show(footprints[0], found[0][2], layers=layers)
    else:
        _show_together(found)
    if html is not None and not as_json:
        typer.echo(f"\nwrote {html}")


def _images(plans: Sequence[Plan], *, until: str, tag: str) -> tuple[Engine, list[tuple[str, tuple[Layer, ...], Plan]]]:
    """Return each plan's image with its layers.

    Raises:
        BuildError: an image is missing; the hint says what builds it.
    """
    from builder.cli.imageread import recorded_stages
    from builder.engine.build import default_tag, target_of
    from builder.engine.host import connect
    from builder.footprint.layers import Made, chain_of, match_layers
    from builder.render.dockerfile import render_stage
    from builder.source.catalog import read_templates

    engine, templates = connect(), read_templates()
    found: list[tuple[str, tuple[Layer, ...], Plan]] = []
    missing: dict[str, str] = {}
    for plan in plans:
        name = tag or default_tag(plan, until)
        image = engine.image(name)
        if image is None:
            words = [*plan.arguments, *(["--until", until] if until else []), *(["--tag", tag] if tag else [])]
            missing[name] = f"drivebuild image {' '.join(words)}"
            continue
        history = [Made(text, count) for text, count in engine.history_sizes(name)]
        chain = chain_of(plan, target_of(plan, until))
        # What it was built from; without that what it would be built from today.
        texts = recorded_stages(name, image.id) or [(stage.name, render_stage(stage, templates)) for stage in chain]
        found.append((name, match_layers(image.layers, history, texts), plan))
    if missing:
        commands = "; ".join(f"`{words}`" for words in missing.values())
        raise BuildError(f"there is no image {', '.join(missing)}", hint=f"{commands} builds it")
    return engine, found


def _footprint(engine: Engine, name: str, chain: tuple[Layer, ...], plan: Plan) -> Footprint:
    from builder.cli.imageread import run_inside
    from builder.footprint.components import known_groups
    from builder.footprint.measure import measure

    image = engine.image(name)
    identity = image.id if image else name
    return measure(name, identity, chain, engine.layer_folders(name), known_groups(plan), run_inside)


def _show(footprint: Footprint, plan: Plan, *, layers: bool) -> None:
    from builder.cli.inspect import print_table
    from builder.engine.text import printable
    from builder.footprint.report import amount, component_rows, distribution_rows, layer_rows, notes

    typer.echo(f"{typer.style(footprint.image, bold=True)}  {amount(footprint.size)}\n")
    print_table(list(component_rows(footprint)), header=("COMPONENT", "BYTES", "SHARE", "BYTE CODE", "HIDDEN"))
    typer.echo("")
    rows = [tuple(printable(text) for text in row) for row in distribution_rows(footprint)]
    print_table(rows, header=("LARGEST", "COMPONENT", "BYTES", "BYTE CODE", "HIDDEN"))
    if layers:
        typer.echo("")
        told = [(*row[:4], printable(row[4])[:WIDEST]) for row in layer_rows(footprint)]
        print_table(told, header=("LAYER", "STAGE", "BYTES", "HIDDEN", "INSTRUCTION"))
    typer.echo("")
    for line in notes(footprint, plan):
        typer.echo(line)


def _show_together(found: Sequence[tuple[str, tuple[Layer, ...], Plan]]) -> None:
    from builder.cli.inspect import print_table
    from builder.footprint.report import shared_rows, together_notes
    from builder.footprint.together import together

    sums = together([(name, chain) for name, chain, _ in found])
    print_table(list(shared_rows(sums)), header=("IMAGES", "STAGE", "BYTES"))
    typer.echo("")
    for line in together_notes(sums):
        typer.echo(line)


def _print_json(footprints: Sequence[Footprint], found: Sequence[tuple[str, tuple[Layer, ...], Plan]]) -> None:
    from builder.cli.inspect import print_json
    from builder.footprint.report import SCHEMA, to_data, together_data
    from builder.footprint.together import together

    sums = together([(name, chain) for name, chain, _ in found])
    data = {"schema": SCHEMA, "together": together_data(sums)}
    plans = [plan for _, _, plan in found]
    data["images"] = [to_data(footprint, plan) for footprint, plan in zip(footprints, plans, strict=False)]
    print_json(data)


def _write(path: Path, footprints: Sequence[Footprint], found: Sequence[tuple[str, tuple[Layer, ...], Plan]]) -> None:
    from builder.cli.results import write_page
    from builder.footprint.page import render_page
    from builder.footprint.together import together

    sums = together([(name, chain) for name, chain, _ in found]) if len(found) > 1 else None
    plans = [plan for _, _, plan in found]
    write_page(path, render_page(list(zip(footprints, plans, strict=True)), sums))

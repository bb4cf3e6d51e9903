"""`list`, `show`, `plan`, `graph`: what the recipes say, without building anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.main import Settings, app
from builder.cli.options import (
    Architecture,
    AsJson,
    Lto,
    ModelName,
    Options,
    Pgo,
    Pins,
    Platform,
    Toolchain,
    Variant,
    asked_architecture,
    parse_options,
    parse_pins,
    variant_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from builder.plan.stage import Plan
    from builder.recipe.types import Catalog, Model, Source


def print_json(data: Any) -> None:
    """Print data as indented JSON."""
    import json

    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]], *, header: Sequence[str]) -> None:
    """Print rows in aligned columns; the last column is not padded."""
    table = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in table) for column in range(len(header) - 1)]
    for number, row in enumerate(table):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        line = "  ".join([*cells, row[-1]]).rstrip()
        typer.echo(typer.style(line, bold=True) if number == 0 else line)


@app.command("list")
def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models, and the platforms they can be built for."""
    settings: Settings = context.obj
    catalog = settings.catalog()
    if as_json:
        print_json({"models": [_summary(catalog, model) for model in catalog.models.values()]})
        return
    rows = [(model.name, model.platform, model.licence, model.summary) for model in catalog.models.values()]
    print_table(rows, header=("MODEL", "PLATFORM", "LICENCE", "SUMMARY"))
    typer.echo(f"\nplatforms: {', '.join(catalog.platforms)}")


def _summary(catalog: Catalog, model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.title,
        "summary": model.summary,
        "licence": model.licence,
        "platform": model.platform,
        "variants": list(catalog.platforms[model.platform].variants),
        "jobs": [job.name for job in model.jobs],
    }


@app.command()
def show(context: typer.Context, model: ModelName, as_json: AsJson = False) -> None:
    """Show a model's pins, versions, licences, options, jobs and published results."""
    settings: Settings = context.obj
    catalog = settings.catalog()
    from builder.plan.allocator import system_ways, with_option
    from builder.plan.make import known

    recipe: Model = known(catalog.models, model, "model")
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(recipe))
        return
    platform = catalog.platforms[recipe.platform]
    with_tcmalloc = with_option(recipe, system_ways(catalog.systems[platform.system], platform))
    typer.echo(f"{typer.style(recipe.title, bold=True)}: {recipe.summary}")
    typer.echo(f"licence {recipe.licence}; README {recipe.readme.path} at {recipe.readme.commit}\n")
    _show_platform(catalog, recipe)
    print_table(list(_pins(catalog, recipe)), header=("SOURCE", "PIN", "LICENCE", "WHERE"))
    typer.echo("")
    rows = [(use.name, use.version, use.on or "all") for use in recipe.components]
    print_table(rows, header=("COMPONENT", "VERSION", "ON"))
    _show_options(with_tcmalloc)
    typer.echo("")
    nodes = [(job.name, "several" if job.launch else "one", job.title) for job in recipe.jobs]
    print_table(nodes, header=("JOB", "NODES", "WHAT"))
    typer.echo("")
    print_table(list(_results(recipe)), header=("CHIP", "CARDS", "BATCH", "EPOCHS", "STEP s", "BUILD", "METRICS"))
    typer.echo("\nresults as upstream published them; drivebuild has not measured them on hardware")


def _show_platform(catalog: Catalog, recipe: Model) -> None:
    platform = catalog.platforms[recipe.platform]
    typer.echo(f"platform {platform.name}: {platform.title}")
    typer.echo(f"  {', '.join(platform.framework)}")
    if platform.cann:
        floor = platform.cann.hdk_floor or "not known"
        typer.echo(f"  driver (HDK) {platform.cann.hdk_recommended} recommended, oldest {floor}")
    typer.echo("")


def _pins(catalog: Catalog, recipe: Model) -> Iterable[tuple[str, str, str, str]]:
    from builder.plan.sources import model_sources

    for name in model_sources(catalog, recipe.name):
        source = catalog.sources[name]
        yield name, _pin(source), source.licence or "-", _where(source)


def _pin(source: Source) -> str:
    pin = getattr(source, "commit", None) or getattr(source, "sha256", None)
    return str(pin)[:12] if pin else "none published"


def _where(source: Source) -> str:
    return str(getattr(source, "url", "")) or f"{getattr(source, 'package', '')} ({getattr(source, 'file', '')})"


def _show_options(recipe: Model) -> None:
    for option in recipe.options:
        typer.echo(f"\noption {option.name}: {option.title}")
        for name, choice in option.choices.items():
            default = " (default)" if name == option.default else ""
            typer.echo(f"  {name}{default}: {choice.title}")
            if choice.note:
                typer.echo(f"      {choice.note}")


def _results(recipe: Model) -> Iterable[tuple[str, ...]]:
    for row in recipe.results:
        metrics = ", ".join(f"{name} {value:g}" for name, value in row.metrics.items())
        step = f"{row.step_seconds:g}" if row.step_seconds else "-"
        yield row.chip, str(row.cards), str(row.global_batch), str(row.epochs), step, row.build, metrics


def _plan(
    context: typer.Context,
    model: str,
    platform: str,
    variant: str,
    options: list[str] | None,
    pins: list[str] | None,
    arch: str = "",
    toolchain: str = "",
) -> Plan:
    settings: Settings = context.obj
    chosen, pinned = parse_options(options), parse_pins(pins)
    return settings.plan(
        model,
        platform=platform,
        variant=variant,
        architecture=asked_architecture(arch),
        options=chosen,
        pinned=pinned,
        toolchain=toolchain,
    )


@app.command()
def plan(
    context: typer.Context,
    model: ModelName,
    platform: Platform = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    arch: Architecture = "",
    option: Options = None,
    pin: Pins = None,
    toolchain: Toolchain = "",
    as_json: AsJson = False,
) -> None:
    """Show the stages of an image, what each needs, and which other models share it."""
    made = _plan(context, model, platform, variant_of(variant, lto=lto, pgo=pgo), option, pin, arch, toolchain)
    shared = _shared(context, made)
    if as_json:
        print_json(_plan_data(made, shared))
        return
    typer.echo(f"{made.tag}\n")
    rows = [
        (
            stage.name,
            f"{stage.minutes} min" if stage.minutes else "",
            ", ".join(made.needs(stage.name)) or stage.base,
            ", ".join(shared[stage.name]) or "-",
        )
        for stage in made.stages
    ]
    print_table(rows, header=("STAGE", "ABOUT", "NEEDS", "ALSO IN"))
    total = sum(stage.minutes for stage in made.stages)
    typer.echo(f"\n{len(made.stages)} stages, about {total} minutes on two cores when nothing is cached")


def _shared(context: typer.Context, made: Plan) -> dict[str, tuple[str, ...]]:
    from builder.errors import PlanError
    from builder.plan.make import make_plan
    from builder.render.keys import sharers
    from builder.source.catalog import read_templates

    settings: Settings = context.obj
    catalog = settings.catalog()
    others = []
    for name, model in catalog.models.items():
        kin = (made.platform.name, made.platform.twin, made.platform.locks)
        if made.platform.accelerator == "npu" and model.platform not in kin:
            continue
        try:
            others.append(
                make_plan(catalog, name, platform=made.platform.name, variant=made.variant, toolchain=made.toolchain)
            )
        except PlanError:
            # Another model that cannot be planned here shares nothing; its own commands say why.
            continue
    return sharers(made, others, read_templates())


def _plan_data(made: Plan, shared: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    return {
        "model": made.model.name,
        "platform": made.platform.name,
        "variant": made.variant,
        "options": dict(made.options),
        "tag": made.tag,
        "dockerfile": made.dockerfile,
        "architectures": list(made.architectures),
        "stages": [
            {
                "name": stage.name,
                "template": stage.template,
                "base": stage.base,
                "needs": list(made.needs(stage.name)),
                "minutes": stage.minutes,
                "shared_with": list(shared[stage.name]),
            }
            for stage in made.stages
        ],
    }


@app.command()
def graph(
    context: typer.Context,
    model: ModelName,
    platform: Platform = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    option: Options = None,
    pin: Pins = None,
    toolchain: Toolchain = "",
    dot: Annotated[bool, typer.Option("--dot", help="Graphviz DOT instead of Mermaid.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the graph of stages as Mermaid, DOT or JSON."""
    from builder.plan.graph import edges, to_dot, to_mermaid

    made = _plan(context, model, platform, variant_of(variant, lto=lto, pgo=pgo), option, pin, toolchain=toolchain)
    if as_json:
        print_json({"nodes": list(made.names), "edges": [list(edge) for edge in edges(made)]})
        return
    typer.echo(to_dot(made) if dot else to_mermaid(made))

"""`verify`: an image proves itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import (
    AsJson,
    Lto,
    Options,
    Platform,
    Variant,
    parse_options,
    variant_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.engine.verify import Check
    from builder.plan.stage import Plan

FAILED = 1


@app.command()
def verify(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name; see `drivebuild list`.")],
    lto: Lto = False,
    variant: Variant = "",
    platform: Platform = "",
    option: Options = None,
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="The stage the image was built until.")] = "",
    tag: Annotated[str, typer.Option("--tag", metavar="T", help="The name given to the image when it was built.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run the in-image checks, and look at all layers. Exit code 1 when one fails."""
    from builder.engine.build import default_tag
    from builder.plan.make import make_plan

    settings: Settings = context.obj
    chosen = variant_of(variant, lto=lto)
    plan = make_plan(settings.catalog(), model, platform=platform, variant=chosen, options=parse_options(option))
    name = tag or default_tag(plan, until)
    checks = []
    for check in _checks(settings, plan, tag=name, until=until):
        checks.append(check)
        if not as_json:
            _print_check(check)
    failed = [check for check in checks if not check.ok]
    if as_json:
        _print_json(name, checks)
    else:
        typer.echo(f"{name}: {len(checks) - len(failed)} of {len(checks)} checks passed")
    if failed:
        raise typer.Exit(FAILED)


def _checks(settings: Settings, plan: Plan, *, tag: str, until: str) -> Iterator[Check]:
    from builder import paths
    from builder.engine.build import target_of
    from builder.engine.host import connect
    from builder.engine.hygiene import look_from_outside
    from builder.engine.process import SystemRunner
    from builder.engine.verify import expectations, probes, run_probe

    engine, target = connect(), target_of(plan, until)
    base = engine.image(plan.platform.base.image)
    labels = next(stage.inputs["labels"] for stage in plan.stages if stage.name == "image") if target == "image" else {}
    yield from look_from_outside(engine, tag, labels=labels, base_layers=len(base.layers) if base else 0)
    expect = expectations(plan, settings.catalog(), target=target)
    scripts = [path.name for path in paths.IN_IMAGE.glob("*.py") if not path.name.startswith("_")]
    for probe in probes(expect, scripts):
        yield from run_probe(probe, tag=tag, folder=paths.IN_IMAGE, expect=expect, runner=SystemRunner())


def _print_check(check: Check) -> None:
    mark = typer.style("ok  ", fg="green") if check.ok else typer.style("FAIL", fg="red", bold=True)
    detail = "" if check.ok or check.detail in ("", [], {}) else f": {check.detail}"
    typer.echo(f"{mark} {check.name}{detail}")
    sys.stdout.flush()


def _print_json(tag: str, checks: list[Check]) -> None:
    import json
    from dataclasses import asdict

    ok = all(check.ok for check in checks)
    typer.echo(json.dumps({"image": tag, "ok": ok, "checks": [asdict(check) for check in checks]}, indent=2))

"""`verify`: an image proves itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.foreign import verified_plan
from builder.cli.main import Settings, app
from builder.cli.options import (
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
    from collections.abc import Iterator

    from builder.engine.host import Engine
    from builder.engine.verified import Verified
    from builder.engine.verify import Check
    from builder.plan.stage import Plan

FAILED = 1
SHOWN_PASSED = 20


@app.command()
def verify(
    context: typer.Context,
    model: ModelName,
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    platform: Platform = "",
    option: Options = None,
    pin: Pins = None,
    toolchain: Toolchain = "",
    arch: Annotated[
        str, typer.Option("--arch", metavar="A", help="The architecture the image was built for, where it is another.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="The stage the image was built until.")] = "",
    tag: Annotated[str, typer.Option("--tag", metavar="T", help="The name given to the image when it was built.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run the in-image checks, and look at all layers. Exit code 1 when one fails.

    What this machine cannot show, for want of a device or of data, is listed by name and counted apart.
    """
    from builder.engine.build import default_tag

    settings: Settings = context.obj
    chosen = variant_of(variant, lto=lto, pgo=pgo)
    plan = settings.plan(
        model,
        platform=platform,
        variant=chosen,
        options=parse_options(option),
        architecture=asked_architecture(arch),
        pinned=parse_pins(pin),
        toolchain=toolchain,
    )
    plan = verified_plan(plan, arch)
    name = tag or default_tag(plan, until)
    checks: list[Check] = []
    for group in _checks(settings, plan, tag=name, until=until):
        checks += group
        if not as_json:
            _print_group(group)
    failed = [check for check in checks if not check.ok]
    record = _kept(name, checks, whole=not until)
    if as_json:
        _print_json(name, checks, record)
    else:
        typer.echo(f"{name}: {summary(checks)}")
        if plan.platform.accelerator == "npu":
            typer.echo("Nothing of this was verified on an NPU.")
    if failed:
        raise typer.Exit(FAILED)


def summary(checks: list[Check]) -> str:
    """Return how many checks passed of those that were made, and how many could not be, by what they need."""
    from collections import Counter

    made = [check for check in checks if not check.unverified]
    text = f"{sum(check.ok for check in made)} of {len(made)} checks passed"
    needs = Counter(check.unverified for check in checks if check.unverified)
    if not needs:
        return text
    return f"{text}, {needs.total()} not verified here ({', '.join(f'{need}: {n}' for need, n in needs.most_common())})"


def _checks(settings: Settings, plan: Plan, *, tag: str, until: str) -> Iterator[tuple[Check, ...]]:
    from builder import paths
    from builder.engine.build import target_of
    from builder.engine.foreign import own_bases
    from builder.engine.host import connect
    from builder.engine.hygiene import look_from_outside
    from builder.engine.process import SystemRunner
    from builder.engine.verify import expectations, probes, run_probe

    engine, target = connect(), target_of(plan, until)
    base = engine.image(dict(own_bases(plan)).get(plan.platform.base.image, plan.platform.base.image))
    labels = next(stage.inputs["labels"] for stage in plan.stages if stage.name == "image") if target == "image" else {}
    below = len(base.layers) if base else 0
    yield look_from_outside(engine, tag, labels=labels, base_layers=below, layers=_layers(engine, tag))
    expect = expectations(plan, settings.catalog(), target=target)
    scripts = [path.name for path in paths.IN_IMAGE.glob("*.py") if not path.name.startswith("_")]
    for probe in probes(expect, scripts):
        yield run_probe(probe, tag=tag, folder=paths.IN_IMAGE, expect=expect, runner=SystemRunner())


def _layers(engine: Engine, tag: str) -> tuple[tuple[str, ...], ...]:
    """Return the files of each layer, where the engine keeps layers as folders: without a copy of the image."""
    from builder.cli.imageread import run_inside
    from builder.footprint.measure import list_layers

    image = engine.image(tag)
    return list_layers(image.id, engine.layer_folders(image.id), run_inside) if image else ()


def _print_group(checks: tuple[Check, ...]) -> None:
    """Print what one script said: all that failed or was not made, and what passed unless that is a long list."""
    passed = [check for check in checks if check.ok and not check.unverified]
    for check in checks:
        if not check.ok:
            _print_line("FAIL", f"{check.name}: {check.detail}")
        elif check.unverified:
            _print_line("--", f"{check.name}: not verified here, {check.unverified}")
        elif len(passed) <= SHOWN_PASSED:
            _print_line("ok", check.name)
    if len(passed) > SHOWN_PASSED:
        _print_line("ok", f"{passed[0].script}: {len(passed)} checks, from {passed[0].name} to {passed[-1].name}")
    sys.stdout.flush()


def _print_line(mark: str, text: str) -> None:
    colour = {"ok": "green", "--": "yellow", "FAIL": "red"}[mark]
    typer.echo(f"{typer.style(mark.ljust(4), fg=colour, bold=mark == 'FAIL')}  {text}")


def _kept(tag: str, checks: list[Check], *, whole: bool) -> Verified | None:
    """Write down what was found, for `promote`; of a stage that is no whole image, nothing."""
    from builder.engine.host import connect
    from builder.engine.verified import keep, of_image

    image = connect().image(tag) if whole else None
    if image is None:
        return None
    record = of_image(image, tag, ok=all(check.ok for check in checks), summary=summary(checks))
    keep(record)
    return record


def _print_json(tag: str, checks: list[Check], record: Verified | None) -> None:
    import json
    from dataclasses import asdict

    import msgspec

    ok = all(check.ok for check in checks)
    found = {
        "image": tag,
        "ok": ok,
        "summary": summary(checks),
        "record": msgspec.to_builtins(record),
        "checks": [asdict(check) for check in checks],
    }
    typer.echo(json.dumps(found, indent=2))

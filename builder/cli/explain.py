"""`explain`: where a file of an image comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson, Platform
from builder.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from builder.plan.stage import Plan
    from builder.provenance.inventory import Inventory
    from builder.provenance.manifest import Change
    from builder.provenance.origin import Applied, Explanation, Hunks, Recipe
    from builder.provenance.origin import Layer as LayerFact
    from builder.recipe.types import Catalog

SCHEMA = "drivebuild-explain-1"
WIDEST = 300
"""Letters of an instruction that are shown."""
MANY = 12
"""Paths that are listed when a name means several."""


@app.command()
def explain(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE|MODEL[:VARIANT]", help="An image, or a model.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="A path in it, or the end of one.")],
    platform: Platform = "",
    hunks: Annotated[bool, typer.Option("--hunks", help="Show the hunks of patches, not only where they are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which layer, stage, package, source, patch or edit a file of an image comes from, and why."""
    settings: Settings = context.obj
    from builder.cli.imageread import ImageReader
    from builder.provenance import origin

    reader = ImageReader(settings, quiet=as_json)
    name = reader.named(image, platform=platform)
    inventory = reader.inventory(name)
    found = _one_path(inventory, path)
    plan = _plan_of(settings, inventory)
    recipe = _recipe(settings.catalog(), plan) if plan else origin.Recipe()
    layer = _layer(reader, name, found, plan)
    explanation = origin.explain(inventory, found, layer, recipe, _hunks(settings, recipe))
    if as_json:
        from msgspec import to_builtins

        from builder.cli.inspect import print_json

        data: dict[str, Any] = {"schema": SCHEMA, "image": name, "id": inventory.snapshot.id}
        print_json({**data, **to_builtins(explanation)})
        return
    _show(explanation, hunks=hunks)
    if plan is None and inventory.manifest.model:
        typer.echo("note: today's recipes have no such image; reasons and stages are not told")


def _one_path(inventory: Inventory, asked: str) -> str:
    """Return the path that is meant.

    Raises:
        UsageError: there is none, or several; the hint names some.
    """
    from builder.engine.text import printable
    from builder.provenance.origin import find, nearest

    entries = inventory.snapshot.entries
    found = find(entries, asked)
    if len(found) == 1:
        return found[0]
    shown = printable(asked)
    if found:
        listed = "".join(f"\n  {_plain(each)}" for each in found[:MANY])
        more = f"\n  and {len(found) - MANY} more" if len(found) > MANY else ""
        raise UsageError(f"{shown}: {len(found)} paths of the image end with it{listed}{more}", hint="name one in full")
    near = ", ".join(_plain(each) for each in nearest(entries, asked))
    raise UsageError(f"{shown or repr(asked)}: the image has no such path", hint=f"there is {near}" if near else "")


def _plain(text: str) -> str:
    from builder.engine.text import printable

    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _plan_of(settings: Settings, inventory: Inventory) -> Plan | None:
    """Return the plan that today's recipes have for the image; None where they have none."""
    from builder.errors import DrivebuildError

    manifest, labels = inventory.manifest, inventory.snapshot.config.labels
    model = manifest.model or labels.get("drivebuild.model", "")
    if model not in settings.catalog().models:
        return None
    pinned = {name.removeprefix("source "): commit for name, commit in manifest.overrides.items()}
    try:
        return settings.plan(
            model,
            platform=manifest.platform or labels.get("drivebuild.platform", ""),
            variant=manifest.variant or labels.get("drivebuild.variant", "") or "stock",
            options=manifest.options,
            pinned=pinned,
            profile=manifest.profile.removeprefix("sha256:"),
        )
    except DrivebuildError:
        return None


def _recipe(catalog: Catalog, plan: Plan) -> Recipe:
    """Return the reasons that recipes give."""
    from builder.provenance.origin import Recipe, StepFact
    from builder.source.catalog import read_templates

    steps = {}
    for stage in plan.stages:
        for number, step in enumerate(stage.inputs.get("steps", ())):
            source, _, path = str(step.get("file", "")).removeprefix("/sources/src-").partition("/")
            taken = step["do"] in ("patch", "copy") and str(step.get("file", "")).startswith("/sources/")
            steps[stage.name, number] = StepFact(
                do=step["do"], note=step["note"], source=source if taken else "", path=path if taken else ""
            )
    system = catalog.systems[plan.platform.system]
    roles: dict[str, str] = {}
    for role in ("python_build", "tcmalloc_build", "build", "jemalloc", "tcmalloc", "runtime"):
        roles |= dict.fromkeys(getattr(system, role), f"systems/{system.name}.yaml, {role}")
    pins = [*plan.platform.pins, *plan.model.requirements.pins]
    templates = read_templates()
    return Recipe(
        steps=steps,
        pins={pin.package.lower(): f"pinned to {pin.version}: {pin.reason}" for pin in pins},
        roles=roles,
        kept={
            f"/workspace/{plan.model.name}/{use.keep_tree}": f"{use.name}-source"
            for use in plan.model.components
            if use.keep_tree
        },
        stages={stage.name: _title(stage, templates) for stage in plan.stages},
    )


def _title(stage: Any, templates: Any) -> str:
    """Return the first sentence over a stage's FROM."""
    from builder.render.dockerfile import render_stage

    head = render_stage(stage, templates).partition("\nFROM ")[0]
    words = " ".join(line.lstrip("# ") for line in head.split("\n") if line.startswith("#"))
    return words.partition(". ")[0].rstrip(".")


def _hunks(settings: Settings, recipe: Recipe) -> Hunks:
    """Return what reads the hunks of a patch out of the configured store; it must be the very patch."""
    from hashlib import sha256

    from builder.engine.folders import cache_folder
    from builder.engine.process import SystemRunner
    from builder.provenance.hunks import hunks_of
    from builder.source.pieces import read_piece
    from builder.source.store import Store

    root: Path | None = settings.config().store
    sources = settings.catalog().sources

    def read(change: Change, path: str) -> tuple[str, ...]:
        fact = recipe.steps.get((change.stage, change.number))
        if root is None or fact is None or fact.source not in sources:
            return ()
        store, cache = Store(root), cache_folder() / "packs"
        source = sources[fact.source]
        text = read_piece(source, fact.source, fact.path, store=store, cache=cache, runner=SystemRunner())
        if text is None or sha256(text).hexdigest() != change.sha256:
            return ()
        return hunks_of(text, path)

    return read


def _layer(reader: Any, name: str, path: str, plan: Plan | None) -> LayerFact | None:
    """Return the layer a file is in, where the engine lets layers be looked into."""
    from builder.cli.imageread import recorded_stages, run_inside
    from builder.footprint.layers import Made, chain_of, match_layers
    from builder.footprint.measure import find_layers
    from builder.provenance.origin import Layer
    from builder.render.dockerfile import render_stage
    from builder.source.catalog import read_templates

    image = reader.engine.image(name)
    folders = reader.engine.layer_folders(name)
    if image is None or len(folders) != len(image.layers):
        return None
    numbers = find_layers(image.id, folders, [path], run_inside).get(path, ())
    if not numbers:
        return None
    # What it was built from; without that what it would be built from today.
    texts = recorded_stages(name, image.id)
    if not texts and plan:
        templates = read_templates()
        texts = [(stage.name, render_stage(stage, templates)) for stage in chain_of(plan, "image")]
    history = [Made(*entry) for entry in reader.engine.history_sizes(name)]
    layer = match_layers(image.layers, history, texts)[numbers[-1]]
    return Layer(
        number=numbers[-1],
        count=len(image.layers),
        digest=layer.id,
        stage=layer.stage,
        instruction=layer.instruction,
        below=numbers[:-1],
    )


def _show(explanation: Explanation, *, hunks: bool) -> None:
    from builder.provenance.tables import cut

    typer.echo(typer.style(_plain(explanation.path), bold=True))
    width = max((len(name) for name, _ in explanation.facts), default=0)
    for name, text in explanation.facts:
        typer.echo(f"  {_plain(name).ljust(width)}  {_plain(cut(text, WIDEST))}")
    for applied in explanation.steps:
        _show_step(applied, hunks=hunks)
    if explanation.verdict:
        typer.echo(f"  {explanation.verdict}")
    if explanation.source is not None:
        typer.echo("")
        _show(explanation.source, hunks=hunks)


def _show_step(applied: Applied, *, hunks: bool) -> None:
    from builder.engine.text import printable
    from builder.provenance.hunks import heading_of

    change, touched, fact = applied.change, applied.touched, applied.fact
    digest = f" sha256:{change.sha256}" if change.sha256 else ""
    typer.echo(f"  {change.stage}, step {change.number + 1}: {change.do} {_plain(change.what)}{digest}".rstrip())
    typer.echo(f"    git's id before {touched.before or 'none'}, after {touched.after or 'none'}")
    if fact is not None and fact.source:
        typer.echo(f"    from {fact.source}: {fact.path}")
    if fact is not None and fact.note:
        typer.echo(f"    reason: {_plain(fact.note)}")
    for hunk in applied.hunks:
        typer.echo(f"    {_plain(heading_of(hunk))}")
        if hunks:
            for line in hunk.split("\n")[1:]:
                typer.echo(f"    | {printable(line)}")
    if change.do == "patch" and not applied.hunks:
        typer.echo("    its hunks are not told: no store is configured that has the patch")

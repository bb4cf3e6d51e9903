"""What `reproduce` reads, images of the engine and archives, with the stage of each layer; and where it builds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.cli.options import known_architecture
from builder.engine.registry import RECIPE
from builder.engine.text import printable
from builder.errors import BuildError

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.engine.command import Choices
    from builder.engine.host import Engine
    from builder.engine.push import Way
    from builder.engine.snapshot import Snapshot
    from builder.plan.stage import Plan
    from builder.reproduce.compare import Comparison, Side
    from builder.reproduce.read import Source

__all__ = ["compared", "placed", "plan_of", "recipes_apart", "side_of", "source_of"]


def compared(engine: Engine, first: str, second: str, *, plan: Plan | None) -> Comparison:
    """Read two images and compare them; the contents of what differs are looked into.

    Raises:
        BuildError: there is no such image, or it cannot be read.
    """
    from builder.engine.snapshot import read_snapshot
    from builder.reproduce.compare import compare, differing_paths

    sources = source_of(engine, first), source_of(engine, second)
    sides = [side_of(source, engine) for source in sources]
    paths = differing_paths([read.layer for read in sides[0].layers], [read.layer for read in sides[1].layers])
    filled = [side.filled(source.looked_into(side.layers, paths)) for side, source in zip(sides, sources, strict=True)]
    kept = read_snapshot(first)
    variant = plan.variant if plan else kept.variant if kept else _label(engine, first, "drivebuild.variant")
    # A profile explains why two of one variant are not the same, and not why two variants are not.
    other = _label(engine, second, "drivebuild.variant") or variant
    return compare(filled[0], filled[1], variant=variant if variant == other else "")


def recipes_apart(engine: Engine, first: str, second: str) -> str:
    """Return a line where two images say that they are of different recipes; '' where they do not."""
    recipes = [_label(engine, name, RECIPE) for name in (first, second)]
    if not all(recipes) or recipes[0] == recipes[1]:
        return ""
    of = (
        f"{name} is of recipe {printable(recipe[:12])}" for name, recipe in zip((first, second), recipes, strict=True)
    )
    return f"{', '.join(of)}: nobody says that they are the same; `drivebuild diff` says how they differ"


def _label(engine: Engine, name: str, label: str) -> str:
    image = None if Path(name).is_file() else engine.image(name)
    return str((image.config.get("Labels") or {}).get(label, "")) if image else ""


def source_of(engine: Engine, name: str) -> Source:
    """Return where an image's layers are read: in the engine, or in an archive of this name.

    Raises:
        BuildError: there is neither.
    """
    from builder.pieces import Pieces
    from builder.reproduce.read import Source

    archive = Path(name)
    if archive.is_file():
        return Source(name, (), lambda: archive.open("rb"))
    image = engine.image(name)
    if image is None:
        raise BuildError(f"there is no image {name}", hint="`docker images` has them all")
    folders = engine.layer_folders(image.id)
    return Source(name, folders if len(folders) == len(image.layers) else (), lambda: Pieces(engine.save(image.id)))


def side_of(source: Source, engine: Engine) -> Side:
    """Return an image with all its layers read, and the instruction of each."""
    from builder.cli.imageread import recorded_stages
    from builder.footprint.layers import Made, match_layers
    from builder.reproduce.compare import Side

    if Path(source.name).is_file():
        return Side(name=source.name, layers=source.read(), ids=())
    image = engine.image(source.name)
    ids = image.layers if image else ()
    history = [Made(text, size) for text, size in engine.history_sizes(source.name)]
    texts = recorded_stages(source.name)
    made = tuple((layer.stage or "", layer.instruction) for layer in match_layers(ids, history, texts))
    return Side(name=source.name, layers=source.read(), ids=ids, stages=made)


def plan_of(settings: Settings, kept: Snapshot, machine: str) -> Plan:
    """Return the plan of the record; for another architecture than the machine's own as it was built here."""
    from builder.plan.cross import CROSS_BASE, cross_built

    plan = settings.plan(
        kept.model,
        platform=kept.platform,
        variant=kept.variant,
        options=kept.options,
        architecture=kept.architecture,
        pinned=kept.pinned,
        toolchain=kept.toolchain,
        profile=kept.profile,
    )
    if kept.architecture in ("", machine):
        return plan
    target = known_architecture(kept.architecture)
    plan = replace(plan, foreign=target)
    if CROSS_BASE not in kept.stages:
        return plan
    return cross_built(settings.catalog(), plan, target=target, machine=known_architecture(machine))


def placed(plan: Plan, choices: Choices, kept: Snapshot, way: Way, *, builder: str) -> Choices:
    """Return the choices with the builder, and for the image's own architecture, whatever the builder's is.

    Raises:
        UsageError: there is no such builder.
        BuildError: it does not answer, cannot run programs of that architecture, or cannot be handed the base.
    """
    from builder.engine.delivery import Delivery, prepared
    from builder.engine.foreign import check_emulation

    found = replace(choices, builder=way.builder(builder))
    machine = found.machine(way.engine.facts())
    if kept.architecture and machine not in ("", kept.architecture):
        target = known_architecture(kept.architecture)
        check_emulation(target, found.builder, way.runner)
        choices = replace(choices, target=target)
    return prepared(plan, choices, Delivery(builder=builder), way=way)[0]

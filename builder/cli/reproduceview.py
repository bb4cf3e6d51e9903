"""What `reproduce` has found, for a person and as data."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import typer

from builder.cli.live import human_bytes
from builder.engine.text import printable

if TYPE_CHECKING:
    from builder.reproduce.compare import Comparison, Difference, LayerPair, Side

__all__ = ["as_data", "print_comparison", "print_digests"]

SHOWN = 20
"""So many files of one reason in one layer are named; the report has all."""


def as_data(found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain data."""
    import msgspec

    layers = [
        {**msgspec.to_builtins(layer), "equal": layer.equal, "same_content": layer.same_content}
        for layer in found.layers
    ]
    return {
        "images": list(found.images),
        "same": found.same,
        "undocumented": found.undocumented,
        "reasons": found.reasons,
        "packages": list(found.packages),
        "extra_layers": list(found.extra),
        "layers": layers,
    }


def print_comparison(found: Comparison) -> None:
    """Print layers, then what differs in them."""
    from builder.cli.inspect import print_table

    rows = [
        (
            str(layer.number + 1),
            printable(layer.stage or "(base)"),
            _verdict(layer),
            _short(layer.contents[1]),
            _what(layer),
        )
        for layer in found.layers
    ]
    print_table(rows, header=("LAYER", "STAGE", "IS", "CONTENT", "MADE BY"))
    for layer in found.layers:
        _print_differences(layer)
    if found.packages:
        typer.echo("\npackages that moved")
        for text in found.packages:
            typer.echo(f"  {printable(text)}")
    for image, number in zip(found.images, found.extra, strict=True):
        if number:
            typer.echo(f"\n{image} has {number} more layer{'s' * (number != 1)}")
    equal = sum(layer.equal for layer in found.layers)
    same = sum(layer.same_content for layer in found.layers)
    typer.echo(f"\n{len(found.layers)} layers: {equal} with equal digests, {same} with equal content but for times")
    for reason, number in sorted(found.reasons.items()):
        typer.echo(f"{_paths(number)}: {reason}")
    typer.echo("reproduced" if found.same else "NOT reproduced")


def print_digests(name: str, side: Side, *, as_json: bool) -> None:
    """Print the digest of each layer's content, which is the same wherever the same was built."""
    from builder.cli.inspect import print_json
    from builder.reproduce.entries import content_digest

    contents = [content_digest(read.layer) for read in side.layers]
    if as_json:
        stages = [stage for stage, _ in side.stages]
        print_json({"image": name, "layers": contents, "stages": stages, "engine": list(side.ids)})
        return
    for number, content in enumerate(contents):
        stage = side.stages[number][0] if number < len(side.stages) else ""
        typer.echo(f"{content}  {printable(stage)}".rstrip())


def _verdict(layer: LayerPair) -> str:
    if layer.equal:
        return "equal"
    if layer.differences:
        return _paths(len(layer.differences))
    if not layer.times:
        # Another digest all the same: times of folders on the way, or what only this store writes.
        return "equal content"
    return f"equal but {layer.times} time{'s' * (layer.times != 1)}"


def _paths(number: int) -> str:
    return f"{number} paths differ" if number != 1 else "1 path differs"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _what(layer: LayerPair) -> str:
    text = " ".join(layer.instruction.split())
    return printable(text if len(text) <= 60 else f"{text[:59]}…")


def _print_differences(layer: LayerPair) -> None:
    groups: dict[tuple[str, str], list[Difference]] = defaultdict(list)
    for each in layer.differences:
        groups[each.reason, each.note].append(each)
    for (reason, note), members in groups.items():
        typer.echo(f"\nlayer {layer.number + 1}: {reason}: {printable(note)}")
        for each in members[:SHOWN]:
            typer.echo(f"  {printable(each.path)}  {_sizes(each)}")
        if len(members) > SHOWN:
            typer.echo(f"  and {len(members) - SHOWN} more")


def _sizes(each: Difference) -> str:
    before, after = (None if size is None else human_bytes(size) for size in each.sizes)
    if before is None or after is None:
        return f"only in the {'second' if before is None else 'first'}"
    return before if before == after else f"{before}, {after}"

"""A footprint as rows for a terminal or a page, and as JSON values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from builder.footprint.components import CUDA, FRAMEWORK_STAGES
from builder.footprint.measure import Footprint, Part
from builder.footprint.together import Together
from builder.plan.stage import Plan

__all__ = [
    "SCHEMA",
    "amount",
    "component_rows",
    "distribution_rows",
    "layer_rows",
    "notes",
    "shared_rows",
    "to_data",
    "together_data",
    "together_notes",
]

SCHEMA = 1
SHOWN = 25
"""Rows of the largest parts in a terminal."""


def amount(count: int) -> str:
    """Return bytes as docker shows them, in powers of ten.

    >>> amount(6747081138), amount(398529788), amount(2321), amount(0)
    ('6.75 GB', '398.5 MB', '2.3 kB', '0 B')
    """
    if count < 1000:
        return f"{count} B"
    for unit, power in (("kB", 1e3), ("MB", 1e6)):
        if count < power * 999.95:
            return f"{count / power:.1f} {unit}"
    return f"{count / 1e9:.2f} GB"


def component_rows(footprint: Footprint) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield component, bytes, share, byte code, stored and hidden."""
    total = sum(part.bytes for part in footprint.parts) or 1
    for part in footprint.by_component():
        yield (part.component, amount(part.bytes), f"{part.bytes / total:.1%}", *_further(part))


def distribution_rows(footprint: Footprint, limit: int = SHOWN) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the largest distributions and folders: name, component, bytes, byte code, stored and hidden."""
    for part in footprint.by_name()[: limit or None]:
        yield (part.name, part.component, amount(part.bytes), *_further(part))


def _further(part: Part) -> tuple[str, str]:
    return amount(part.byte_code) if part.byte_code else "", amount(part.hidden) if part.hidden else ""


def layer_rows(footprint: Footprint) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the layers that hold bytes, the lowest first: number, stage, bytes, hidden, instruction."""
    for number, layer in enumerate(footprint.layers):
        if layer.size:
            hidden = sum(part.hidden for part in footprint.parts if part.layer == number)
            said = " ".join(layer.instruction.split()) or "an imported base"
            yield str(number), stage_word(layer.stage), amount(layer.size), amount(hidden) if hidden else "", said


def stage_word(stage: str | None) -> str:
    """Return a layer's stage for the reader."""
    return "?" if stage is None else stage or "base image"


def notes(footprint: Footprint, plan: Plan) -> Iterator[str]:
    """Yield what is to be said of the figures."""
    hidden = footprint.hidden
    if hidden:
        yield f"stored, and hidden by a later layer that writes or removes the same files: {amount(hidden)}"
    if not footprint.exact:
        yield "this engine does not let layers be looked into: parts are those of the whole image, not of each layer"
    unknown = [layer for layer in footprint.layers if layer.stage is None and layer.size]
    if unknown:
        size = amount(sum(layer.size for layer in unknown))
        yield f"{len(unknown)} layers ({size}) are of no stage of today's: the image is of another state of the recipes"
    elif framework := sum(map(footprint.of_stage, FRAMEWORK_STAGES)):
        yield (f"the layers of the framework: {amount(framework)}; all others: {amount(footprint.size - framework)}")
    cuda = sum(part.bytes for part in footprint.parts if part.component == CUDA)
    if cuda:
        yield f"{CUDA}, {amount(cuda)}: {_why_cuda(plan)}"


def _why_cuda(plan: Plan) -> str:
    torch = next((line.replace("==", " ") for line in plan.platform.framework if line.startswith("torch==")), "torch")
    return (
        f"the package index has {torch} for x86_64 with CUDA alone, which asks for all of them; "
        "PyTorch's CPU build is on a server of its own, which platforms with a real CANN take it from"
    )


def shared_rows(found: Together) -> Iterator[tuple[str, str, str]]:
    """Yield what is stored once: how many images have it, the stage, bytes."""
    for each in found.shared:
        who = f"all {len(found.sizes)}" if len(each.images) == len(found.sizes) else ", ".join(each.images)
        yield who, stage_word(each.stage), amount(each.bytes)


def together_notes(found: Together) -> Iterator[str]:
    """Yield the sums."""
    for name, size in found.sizes.items():
        yield f"{name}: {amount(size)}, of which its own: {amount(found.own[name])}"
    each = sum(found.sizes.values())
    yield (
        f"{len(found.sizes)} images: {amount(each)} if each were alone, {amount(found.stored)} together, "
        f"{found.ratio:.2f} times the largest"
    )


def to_data(footprint: Footprint, plan: Plan) -> dict[str, Any]:
    """Return a footprint as JSON values."""

    def values(parts: Sequence[Part], *, named: bool) -> list[dict[str, Any]]:
        return [
            {
                **({"name": part.name} if named else {}),
                "component": part.component,
                "files": part.files,
                "bytes": part.bytes,
                "byte_code": part.byte_code,
                "hidden": part.hidden,
            }
            for part in parts
        ]

    return {
        "image": footprint.image,
        "id": footprint.id,
        "bytes": footprint.size,
        "hidden": footprint.hidden,
        "layers_looked_into": footprint.exact,
        "components": values(footprint.by_component(), named=False),
        "parts": values(footprint.by_name(), named=True),
        "layers": [
            {
                "id": layer.id,
                "stage": layer.stage,
                "instruction": layer.instruction,
                "bytes": layer.size,
                "hidden": sum(part.hidden for part in footprint.parts if part.layer == number),
            }
            for number, layer in enumerate(footprint.layers)
        ],
        "notes": list(notes(footprint, plan)),
    }


def together_data(found: Together) -> dict[str, Any]:
    """Return several images as JSON values."""
    return {
        "images": found.sizes,
        "own": found.own,
        "stored": found.stored,
        "largest": found.largest,
        "ratio": round(found.ratio, 4),
        "shared": [{"images": each.images, "stage": each.stage, "bytes": each.bytes} for each in found.shared],
    }

"""Several images on one disk: what they share is stored once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from builder.footprint.layers import Layer

__all__ = ["Shared", "Together", "together"]


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """Layers of one stage that the same images have."""

    images: tuple[str, ...]
    stage: str | None
    bytes: int


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """What several images are on one disk."""

    sizes: dict[str, int]
    """Bytes by image, as if it were alone."""
    stored: int
    """Bytes of all layers, each counted once."""
    shared: tuple[Shared, ...]

    @property
    def largest(self) -> int:
        """Bytes of the largest image."""
        return max(self.sizes.values())

    @property
    def ratio(self) -> float:
        """All images together, in terms of the largest one."""
        return self.stored / self.largest if self.largest else 1.0

    @property
    def own(self) -> dict[str, int]:
        """Bytes by image that no other one has."""
        found = dict.fromkeys(self.sizes, 0)
        for each in self.shared:
            if len(each.images) == 1:
                found[each.images[0]] += each.bytes
        return found


def together(images: Sequence[tuple[str, Sequence[Layer]]]) -> Together:
    """Return what images, each a name and its layers from the lowest on, are together.

    An engine stores a layer once for all images in which it stands on the same layers; on others it is stored again.
    """
    owners: dict[tuple[str, ...], list[str]] = {}
    layers: dict[tuple[str, ...], Layer] = {}
    for name, chain in images:
        for number, layer in enumerate(chain):
            key = tuple(each.id for each in chain[: number + 1])
            owners.setdefault(key, []).append(name)
            layers.setdefault(key, layer)
    totals: Counter[tuple[tuple[str, ...], str | None]] = Counter()
    for key, names in owners.items():
        totals[tuple(names), layers[key].stage] += layers[key].size
    shared = [Shared(images=names, stage=stage, bytes=size) for (names, stage), size in totals.items() if size]
    return Together(
        sizes={name: sum(layer.size for layer in chain) for name, chain in images},
        stored=sum(layer.size for layer in layers.values()),
        shared=tuple(sorted(shared, key=lambda each: (-len(each.images), -each.bytes))),
    )

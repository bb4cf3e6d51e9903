"""What the scripts of suite `ops` share: random boxes, and the check of a result. Runs in an image."""

from __future__ import annotations

from typing import Any, Callable, Sequence, Tuple, Union

import torch

Shapes = Tuple[Tuple[Union[int, Tuple[int, int]], ...], ...]
"""Of all results; a length may be a pair, between which it lies."""
Work = Tuple[Callable[[], Any], Shapes]
"""One call of an operator, and the shapes of what it returns."""


class AbsentError(Exception):
    """This image does not have the operator."""


def randoms(seed: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return functions for normal and uniform figures that nothing else draws from."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Any:
        return torch.randn(shape, generator=generator)

    def uniform(low: float, high: float, *shape: int) -> Any:
        return torch.rand(shape, generator=generator) * (high - low) + low

    return normal, uniform


def centres(seed: int, count: int, objects: int, width: float, height: float, spread: float) -> Any:
    """Return (count, 2) places around `objects` of them, as proposals lie; with 0 objects, all over the picture."""
    normal, uniform = randoms(seed)
    size = torch.tensor([width, height], dtype=torch.float32)
    if not objects:
        return uniform(0, 1, count, 2) * size
    middle = uniform(0, 1, objects, 2) * size
    return middle[torch.arange(count) % objects] + normal(count, 2) * spread


def boxes(
    seed: int, count: int, objects: int, width: int, height: int, sides: tuple[float, float], spread: float
) -> Any:
    """Return (count, 4) boxes x1, y1, x2, y2 with sides between two lengths, at least one apart."""
    _, uniform = randoms(seed + 1)
    middle = centres(seed, count, objects, width, height, spread)
    half = uniform(sides[0], sides[1], count, 2) / 2
    return torch.cat([middle - half, middle + half], dim=1)


def rotated(seed: int, count: int, objects: int, extent: float, spread: float) -> Any:
    """Return (count, 5) boxes x, y, width, length, angle of cars seen from above, in metres."""
    normal, uniform = randoms(seed + 1)
    middle = centres(seed, count, objects, extent, extent, spread)
    sides = torch.tensor([1.95, 4.6]) * (1 + 0.1 * normal(count, 2)).clamp(0.5, 1.5)
    return torch.cat([middle, sides, uniform(-3.14, 3.14, count, 1)], dim=1)


def scores(seed: int, count: int) -> Any:
    """Return `count` different scores."""
    generator = torch.Generator().manual_seed(seed + 2)
    return (torch.randperm(count, generator=generator).float() + 1) / (count + 1)


def cloud(seed: int, count: int, extent: float, low: float, high: float) -> Any:
    """Return (count, 4) points x, y, z, intensity; as a lidar has them, dense near the middle."""
    normal, uniform = randoms(seed)
    distance = extent * uniform(0, 1, count) ** 2
    angle = uniform(0, 6.2832, count)
    place = torch.stack([distance * angle.cos(), distance * angle.sin()], dim=1) + normal(count, 2) * 0.05
    return torch.cat([place, uniform(low, high, count, 1), uniform(0, 1, count, 1)], dim=1)


def gradients(call: Callable[[], Any], inputs: Sequence[Any], shape: tuple[int, ...], seed: int) -> Work:
    """Return a function that computes an operator and its gradients, and the shapes of all that it returns."""
    normal, _ = randoms(seed + 3)
    weight = normal(*shape)

    def run() -> tuple[Any, ...]:
        found = call()
        return (found.detach(), *torch.autograd.grad(found, inputs, weight))

    return run, (shape, *(tuple(int(side) for side in each.shape) for each in inputs))


def check(found: Any, shapes: Shapes) -> None:
    """Raise AssertionError unless a result has these shapes, is finite, and is something else than zeros."""
    tensors = [found] if isinstance(found, torch.Tensor) else list(found)
    if len(tensors) != len(shapes):
        raise AssertionError("%d results instead of %d" % (len(tensors), len(shapes)))
    for tensor, shape in zip(tensors, shapes):
        if tensor.dim() != len(shape) or not all(map(_fits, tensor.shape, shape)):
            raise AssertionError("shape %s instead of %s" % (tuple(tensor.shape), tuple(shape)))
        if not bool(torch.isfinite(tensor).all()):
            raise AssertionError("not finite")
        if not bool((tensor != 0).any()):
            raise AssertionError("nothing but zeros")


def _fits(length: int, wanted: int | tuple[int, int]) -> bool:
    low, high = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    return low <= length <= high

"""torch's own CPU operators as a camera detector uses them, as work to be measured. Runs in an image.

`WORKS` is as in operators_mmcv.py; no profile is trained with these.
"""

from __future__ import annotations

import importlib
from typing import Any, Callable, Mapping, Sequence

import torch
from operators import AbsentError, Work, gradients, randoms
from torch.nn import functional


def conv2d(seed: int, images: int, channels: int, height: int, width: int) -> Work:
    normal, _ = randoms(seed)
    image = normal(images, channels, height, width).requires_grad_()
    weight = (normal(channels, channels, 3, 3) / (9 * channels) ** 0.5).requires_grad_()
    shape = (images, channels, height, width)
    return gradients(lambda: functional.conv2d(image, weight, padding=1), [image, weight], shape, seed)


def batch_norm_relu(seed: int, images: int, channels: int, height: int, width: int) -> Work:
    normal, uniform = randoms(seed)
    image, mean, scale = normal(images, channels, height, width), normal(channels), uniform(0.5, 1.5, channels)
    return lambda: functional.batch_norm(image, mean, scale, scale, mean).relu(), ((images, channels, height, width),)


def linear(seed: int, tokens: int, inputs: int, outputs: int) -> Work:
    normal, _ = randoms(seed)
    token = normal(tokens, inputs).requires_grad_()
    weight, bias = (normal(outputs, inputs) / inputs**0.5).requires_grad_(), normal(outputs).requires_grad_()
    return gradients(lambda: functional.linear(token, weight, bias), [token, weight, bias], (tokens, outputs), seed)


def attention(seed: int, heads: int, queries: int, keys: int, size: int) -> Work:
    normal, _ = randoms(seed)
    query, key, value = normal(heads, queries, size), normal(heads, keys, size), normal(heads, keys, size)

    def run() -> Any:
        return torch.bmm((torch.bmm(query, key.transpose(1, 2)) / size**0.5).softmax(-1), value)

    return run, ((heads, queries, size),)


def deformable_attention(seed: int, queries: int, sides: Sequence[tuple[int, int]], points: int) -> Work:
    """mmcv's own fallback in Python, which is what runs where there is no kernel: grid_sample and sums."""
    try:
        found = importlib.import_module("mmcv.ops.multi_scale_deform_attn")
        call = found.multi_scale_deformable_attn_pytorch
    except (ImportError, AttributeError) as error:
        raise AbsentError("mmcv has no multi_scale_deformable_attn_pytorch: %s" % error) from error
    normal, uniform = randoms(seed)
    heads, size, levels = 8, 32, len(sides)
    value = normal(1, sum(height * width for height, width in sides), heads, size).requires_grad_()
    places = uniform(-0.05, 1.05, 1, queries, heads, levels, points, 2).requires_grad_()
    weights = uniform(0, 1, 1, queries, heads, levels * points).softmax(-1)
    weights = weights.view(1, queries, heads, levels, points).requires_grad_()
    shapes, inputs = torch.tensor(sides), [value, places, weights]
    return gradients(lambda: call(value, shapes, places, weights), inputs, (1, queries, heads * size), seed)


def grid_sample(seed: int, images: int, channels: int, height: int, width: int, points: int) -> Work:
    normal, uniform = randoms(seed)
    image = normal(images, channels, height, width).requires_grad_()
    grid = uniform(-1.1, 1.1, images, points, 4, 2)
    shape = (images, channels, points, 4)
    return gradients(lambda: functional.grid_sample(image, grid, align_corners=False), [image], shape, seed)


def layer_norm(seed: int, tokens: int, size: int) -> Work:
    normal, _ = randoms(seed)
    token, weight = normal(tokens, size).requires_grad_(), normal(size).requires_grad_()
    bias = normal(size).requires_grad_()
    inputs = [token, weight, bias]
    return gradients(lambda: functional.layer_norm(token, (size,), weight, bias), inputs, (tokens, size), seed)


def softmax(seed: int, heads: int, queries: int, keys: int) -> Work:
    normal, _ = randoms(seed)
    score = normal(heads, queries, keys)
    return lambda: score.softmax(-1), ((heads, queries, keys),)


def index_add(seed: int, points: int, channels: int, cells: int) -> Work:
    normal, _ = randoms(seed)
    feature = normal(points, channels)
    cell = torch.randint(cells, (points,), generator=torch.Generator().manual_seed(seed))
    return lambda: torch.zeros(cells, channels).index_add_(0, cell, feature), ((cells, channels),)


def gather_scatter(seed: int, tokens: int, size: int, kept: int) -> Work:
    normal, _ = randoms(seed)
    token, score = normal(tokens, size), normal(tokens)

    def run() -> Any:
        index = score.topk(kept).indices[:, None].expand(-1, size)
        return torch.zeros(tokens, size).scatter_add(0, index, token.gather(0, index))

    return run, ((tokens, size),)


def interpolate(seed: int, images: int, channels: int, height: int, width: int, mode: str) -> Work:
    normal, _ = randoms(seed)
    image = normal(images, channels, height, width).requires_grad_()
    align = None if mode == "nearest" else False
    shape = (images, channels, 2 * height, 2 * width)
    return gradients(
        lambda: functional.interpolate(image, scale_factor=2, mode=mode, align_corners=align), [image], shape, seed
    )


# Where the sizes come from: six pictures of 704x256 at strides 8, 16 and 32 with 256 channels are StreamPETR's R50 and
# its neck; 428 queries, 256 kept, 4224 = 6x16x44 keys and 8 heads its decoder; 2048 the width of its feed-forward
# layers; the deformable attention is Deformable DETR's decoder at 800x1333; 64 channels on 128x128 cells are
# BEVDet's and FlashOCC's view from above, which 6x16x44 pixels reach in 59 depths (a quarter of them here).
Sizes = Mapping[str, Any]
WORKS: Mapping[str, tuple[Callable[..., Work], Sizes, Sequence[Sizes]]] = {
    "conv2d": (conv2d, {"images": 6, "channels": 128, "height": 32, "width": 88}, ()),
    "batch_norm_relu": (batch_norm_relu, {"images": 6, "channels": 256, "height": 32, "width": 88}, ()),
    "linear": (linear, {"tokens": 900, "inputs": 256, "outputs": 2048}, ()),
    "attention": (attention, {"heads": 8, "queries": 428, "keys": 4224, "size": 32}, ()),
    "deformable_attention": (
        deformable_attention,
        {"queries": 300, "sides": ((100, 167), (50, 84), (25, 42), (13, 21)), "points": 4},
        (),
    ),
    "grid_sample": (grid_sample, {"images": 6, "channels": 64, "height": 32, "width": 88, "points": 2500}, ()),
    "layer_norm": (layer_norm, {"tokens": 4224, "size": 256}, ()),
    "softmax": (softmax, {"heads": 8, "queries": 428, "keys": 4224}, ()),
    "index_add": (index_add, {"points": 62304, "channels": 64, "cells": 16384}, ()),
    "gather_scatter": (gather_scatter, {"tokens": 4224, "size": 256, "kept": 256}, ()),
    "interpolate_nearest": (
        interpolate,
        {"images": 6, "channels": 256, "height": 16, "width": 44, "mode": "nearest"},
        (),
    ),
    "interpolate_bilinear": (
        interpolate,
        {"images": 6, "channels": 64, "height": 32, "width": 88, "mode": "bilinear"},
        (),
    ),
}

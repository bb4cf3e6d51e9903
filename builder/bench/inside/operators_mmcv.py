"""mmcv's C++ operators that have a CPU kernel in mmcv-full 1.7.2, as work to be measured. Runs in an image.

`WORKS` has for each a function that makes (run, shapes) from a seed and the sizes, the sizes that are measured, and
those that a profile is trained with, which are others.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Callable, Mapping, Sequence

import torch
from operators import AbsentError, Work, boxes, cloud, gradients, randoms, rotated, scores


def op(name: str) -> Any:
    """Return an operator of mmcv; a model's overlay may have put one for another device into its place."""
    try:
        if importlib.util.find_spec("torch_npu"):
            # mmcv's operators for NPUs are linked to its library, which only its own import loads.
            importlib.import_module("torch_npu")
        found = getattr(importlib.import_module("mmcv.ops"), name)
    except (ImportError, AttributeError) as error:
        raise AbsentError("mmcv has no operator %s: %s" % (name, error)) from error
    owner = getattr(found, "__self__", found)
    if not owner.__module__.startswith("mmcv."):
        raise AbsentError("%s comes from %s here" % (name, owner.__module__))
    return found


def nms(seed: int, count: int, objects: int, threshold: float) -> Work:
    call, box, score = op("nms"), boxes(seed, count, objects, 1333, 800, (16, 256), 12), scores(seed, count)
    return lambda: call(box, score, threshold), (((2, count - 1), 5), ((2, count - 1),))


def soft_nms(seed: int, count: int, objects: int, method: str) -> Work:
    call, box, score = op("soft_nms"), boxes(seed, count, objects, 1333, 800, (16, 256), 12), scores(seed, count)
    return lambda: call(box, score, 0.3, 0.5, 0.05, method), (((2, count), 5), ((2, count),))


def nms_match(seed: int, count: int, objects: int) -> Work:
    call, box = op("nms_match"), boxes(seed, count, objects, 1333, 800, (16, 256), 12)
    dets = torch.cat([box, scores(seed, count)[:, None]], dim=1)

    def run() -> Any:
        return torch.tensor([len(group) for group in call(dets, 0.5)])

    return run, (((2, count - 1),),)


def nms_rotated(seed: int, count: int, objects: int, threshold: float) -> Work:
    call, box, score = op("nms_rotated"), rotated(seed, count, objects, 102.4, 0.6), scores(seed, count)
    return lambda: call(box, score, threshold), (((2, count - 1), 6), ((2, count - 1),))


def bbox_overlaps(seed: int, rows: int, columns: int, mode: str) -> Work:
    call = op("bbox_overlaps")
    first = boxes(seed, rows, 60, 1333, 800, (16, 256), 12)
    second = boxes(seed, columns, 60, 1333, 800, (16, 256), 2)
    return lambda: call(first, second, mode), ((rows, columns),)


def box_iou_rotated(seed: int, rows: int, columns: int) -> Work:
    call = op("box_iou_rotated")
    first, second = rotated(seed, rows, 40, 102.4, 0.6), rotated(seed, columns, 40, 102.4, 0.2)
    return lambda: call(first, second), ((rows, columns),)


def box_iou_quadri(seed: int, rows: int, columns: int) -> Work:
    call = op("box_iou_quadri")

    def corners(count: int, spread: float) -> Any:
        x1, y1, x2, y2 = boxes(seed, count, 40, 600, 400, (20, 120), spread).unbind(1)
        return torch.stack([x1, y1, x2, y1 + 4, x2 - 3, y2, x1 + 2, y2], dim=1)

    first, second = corners(rows, 8), corners(columns, 2)
    return lambda: call(first, second), ((rows, columns),)


def roi_align(seed: int, rois: int, channels: int, height: int, width: int, stride: int, out: int, ratio: int) -> Work:
    call, (normal, _) = op("roi_align"), randoms(seed)
    features = normal(1, channels, height, width).requires_grad_()
    box = boxes(seed, rois, 40, width * stride, height * stride, (stride * 3, stride * 14), 8)
    places = torch.cat([torch.zeros(rois, 1), box], dim=1)
    shape = (rois, channels, out, out)
    return gradients(
        lambda: call(features, places, (out, out), 1 / stride, ratio, "avg", True), [features], shape, seed
    )


def roi_align_rotated(seed: int, rois: int, channels: int, height: int, width: int, out: int, ratio: int) -> Work:
    call, (normal, _) = op("roi_align_rotated"), randoms(seed)
    features = normal(1, channels, height, width).requires_grad_()
    box = rotated(seed, rois, 40, float(min(height, width)), 1.5)
    box[:, 2:4] *= 3
    places = torch.cat([torch.zeros(rois, 1), box], dim=1)
    shape = (rois, channels, out, out)
    return gradients(lambda: call(features, places, (out, out), 1.0, ratio, True, False), [features], shape, seed)


def deform_conv2d(seed: int, channels: int, height: int, width: int, groups: int) -> Work:
    call, (normal, _) = op("deform_conv2d"), randoms(seed)
    image = normal(1, channels, height, width).requires_grad_()
    offset = normal(1, 18 * groups, height, width).requires_grad_()
    weight = (normal(channels, channels, 3, 3) / (9 * channels) ** 0.5).requires_grad_()
    shape = (1, channels, height, width)
    return gradients(lambda: call(image, offset, weight, 1, 1, 1, 1, groups), [image, offset, weight], shape, seed)


def modulated_deform_conv2d(seed: int, channels: int, height: int, width: int, groups: int) -> Work:
    call, (normal, uniform) = op("modulated_deform_conv2d"), randoms(seed)
    image = normal(1, channels, height, width).requires_grad_()
    offset = normal(1, 18 * groups, height, width).requires_grad_()
    mask = uniform(0, 1, 1, 9 * groups, height, width).requires_grad_()
    weight = (normal(channels, channels, 3, 3) / (9 * channels) ** 0.5).requires_grad_()
    bias = normal(channels).requires_grad_()
    inputs, shape = [image, offset, mask, weight, bias], (1, channels, height, width)
    return gradients(lambda: call(*inputs, 1, 1, 1, 1, groups), inputs, shape, seed)


def hard_voxelization(
    seed: int, points: int, size: list[float], extent: float, most_points: int, most_voxels: int
) -> Work:
    call, seen = op("voxelization"), cloud(seed, points, extent * 1.2, -5, 3)
    area = [-extent, -extent, -5.0, extent, extent, 3.0]
    shapes = (((2, most_voxels), most_points, 4), ((2, most_voxels), 3), ((2, most_voxels),))
    return lambda: call(seen, size, area, most_points, most_voxels), shapes


def dynamic_voxelization(seed: int, points: int, size: list[float], extent: float) -> Work:
    call, seen = op("voxelization"), cloud(seed, points, extent * 1.2, -5, 3)
    area = [-extent, -extent, -5.0, extent, extent, 3.0]
    return lambda: call(seen, size, area, -1, -1), ((points, 3),)


def points_in_boxes(seed: int, points: int, count: int, extent: float) -> Work:
    call, seen = op("points_in_boxes_cpu"), cloud(seed, points, extent, -3, 3)
    flat = rotated(seed, count, count, 2 * extent, 0.1)
    flat[:, :2] -= extent
    flat[0, :2] = 0
    low, tall = torch.full((count, 1), -2.0), torch.full((count, 1), 1.7)
    box = torch.cat([flat[:, :2], low, flat[:, 2:4] * 2, tall, flat[:, 4:]], dim=1)[None]
    return lambda: call(seen[None, :, :3], box), ((1, points, count),)


def rotated_feature_align(seed: int, channels: int, height: int, width: int, points: int) -> Work:
    call, (normal, uniform) = op("rotated_feature_align"), randoms(seed)
    features = normal(1, channels, height, width).requires_grad_()
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([columns, rows], dim=-1)[None].float() * 8 + normal(1, height, width, 2) * 8
    box = torch.cat([place, uniform(16, 64, 1, height, width, 2), uniform(-1.5, 1.5, 1, height, width, 1)], dim=-1)
    return gradients(lambda: call(features, box, 1 / 8, points), [features], (1, channels, height, width), seed)


def active_rotated_filter(seed: int, outputs: int, inputs: int) -> Work:
    call, (normal, _) = op("active_rotated_filter"), randoms(seed)
    weight = normal(outputs, inputs, 8, 3, 3).requires_grad_()
    indices = torch.arange(8 * 3 * 3 * 8).view(8, 3, 3, 8) % 72 + 1
    shape = (outputs * 8, inputs * 8, 3, 3)
    return gradients(lambda: call(weight, indices.int()), [weight], shape, seed)


def psa_mask(seed: int, kind: str, height: int, width: int, side: int) -> Work:
    layer, (normal, _) = op("PSAMask")(kind, (side, side)), randoms(seed)
    image = normal(1, side * side, height, width).requires_grad_()
    return gradients(lambda: layer(image), [image], (1, height * width, height, width), seed)


# Where the measured sizes come from: 1333x800 pictures with 2000 proposals before NMS are mmdet's Faster R-CNN with
# FPN (1000 in its tests, where soft_nms stands in for nms); 512 RoIs of 256 channels, 7x7, its head at stride 16;
# 256 channels at 16x44 and 512 at 8x22 are the stages of a ResNet with deformable convolutions at 704x256, StreamPETR's
# pictures; 34 720 points are one sweep of nuScenes' lidar, ten of them what PointPillars takes in voxels of 0.25 m, and
# 0.1 m is CenterPoint's; 1000 rotated boxes with 0.2 are PointPillars' NMS. Rotated features are S2ANet's at half its
# side, PSA masks PSANet's at a third.
Sizes = Mapping[str, Any]
WORKS: Mapping[str, tuple[Callable[..., Work], Sizes, Sequence[Sizes]]] = {
    "nms": (
        nms,
        {"count": 2000, "objects": 60, "threshold": 0.7},
        ({"count": 1200, "objects": 25, "threshold": 0.5}, {"count": 700, "objects": 0, "threshold": 0.65}),
    ),
    "soft_nms": (
        soft_nms,
        {"count": 1000, "objects": 40, "method": "linear"},
        ({"count": 600, "objects": 0, "method": "linear"}, {"count": 500, "objects": 15, "method": "gaussian"}),
    ),
    "nms_match": (nms_match, {"count": 1000, "objects": 60}, ({"count": 640, "objects": 0},)),
    "nms_rotated": (
        nms_rotated,
        {"count": 1000, "objects": 80, "threshold": 0.2},
        ({"count": 450, "objects": 30, "threshold": 0.1}, {"count": 300, "objects": 0, "threshold": 0.3}),
    ),
    "bbox_overlaps": (
        bbox_overlaps,
        {"rows": 2000, "columns": 100, "mode": "iou"},
        ({"rows": 700, "columns": 37, "mode": "iou"}, {"rows": 300, "columns": 64, "mode": "iof"}),
    ),
    "box_iou_rotated": (box_iou_rotated, {"rows": 500, "columns": 100}, ({"rows": 130, "columns": 210},)),
    "box_iou_quadri": (box_iou_quadri, {"rows": 500, "columns": 100}, ({"rows": 130, "columns": 210},)),
    "roi_align": (
        roi_align,
        {"rois": 512, "channels": 256, "height": 50, "width": 84, "stride": 16, "out": 7, "ratio": 2},
        (
            {"rois": 90, "channels": 96, "height": 64, "width": 72, "stride": 8, "out": 14, "ratio": 2},
            {"rois": 150, "channels": 64, "height": 33, "width": 47, "stride": 16, "out": 7, "ratio": 0},
        ),
    ),
    "roi_align_rotated": (
        roi_align_rotated,
        {"rois": 256, "channels": 256, "height": 64, "width": 64, "out": 7, "ratio": 2},
        ({"rois": 100, "channels": 80, "height": 72, "width": 40, "out": 5, "ratio": 2},),
    ),
    "deform_conv2d": (
        deform_conv2d,
        {"channels": 512, "height": 8, "width": 22, "groups": 1},
        (
            {"channels": 96, "height": 38, "width": 26, "groups": 1},
            {"channels": 64, "height": 21, "width": 33, "groups": 4},
        ),
    ),
    "modulated_deform_conv2d": (
        modulated_deform_conv2d,
        {"channels": 256, "height": 16, "width": 44, "groups": 1},
        (
            {"channels": 128, "height": 40, "width": 30, "groups": 1},
            {"channels": 48, "height": 29, "width": 50, "groups": 4},
        ),
    ),
    "hard_voxelization": (
        hard_voxelization,
        {
            "points": 347200,
            "size": [0.25, 0.25, 8.0],
            "extent": 50.0,
            "most_points": 20,
            "most_voxels": 30000,
        },
        (
            {"points": 61000, "size": [0.32, 0.32, 4.0], "extent": 40.0, "most_points": 32, "most_voxels": 9000},
            {"points": 20000, "size": [0.5, 0.5, 0.5], "extent": 30.0, "most_points": 5, "most_voxels": 20000},
        ),
    ),
    "dynamic_voxelization": (
        dynamic_voxelization,
        {"points": 347200, "size": [0.1, 0.1, 0.2], "extent": 51.2},
        ({"points": 83000, "size": [0.3, 0.3, 0.4], "extent": 36.0},),
    ),
    "points_in_boxes": (
        points_in_boxes,
        {"points": 34720, "count": 40, "extent": 50.0},
        ({"points": 12500, "count": 23, "extent": 35.0},),
    ),
    "rotated_feature_align": (
        rotated_feature_align,
        {"channels": 256, "height": 64, "width": 64, "points": 5},
        (
            {"channels": 96, "height": 40, "width": 56, "points": 5},
            {"channels": 64, "height": 30, "width": 30, "points": 1},
        ),
    ),
    "active_rotated_filter": (
        active_rotated_filter,
        {"outputs": 32, "inputs": 32},
        ({"outputs": 24, "inputs": 16},),
    ),
    "psa_mask": (
        psa_mask,
        {"kind": "collect", "height": 20, "width": 20, "side": 39},
        (
            {"kind": "collect", "height": 15, "width": 11, "side": 21},
            {"kind": "distribute", "height": 12, "width": 14, "side": 19},
        ),
    ),
}

"""mmcv_ops.py: mmcv's compiled operators against plain PyTorch written here, on the CPU."""

import importlib.util
import math

import torch
from _report import NotHereError, finish, guard, report
from _stand_ins import install

install()
torch.manual_seed(20240229)
TOLERANCE = 1e-4


def compare(found, expected, tolerance=TOLERANCE):
    if tuple(found.shape) != tuple(expected.shape):
        raise AssertionError(f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
    if not bool(torch.isfinite(found).all()) or float(expected.abs().max()) < 1e-2:
        raise AssertionError("not finite, or a comparison of nothing but zeros")
    gap = float((found - expected).abs().max())
    if gap > tolerance:
        raise AssertionError(f"differs by {gap:g}, more than {tolerance:g}")
    return {"largest difference": gap, "shape": list(found.shape)}


def bilinear(image, y, x):
    """image (C, H, W) at the points y, x (any shape): (C, *shape); outside is zero."""
    height, width = image.shape[1:]
    y0, x0 = torch.floor(y), torch.floor(x)
    total = torch.zeros((image.shape[0], *y.shape), dtype=image.dtype)
    for dy in (0, 1):
        for dx in (0, 1):
            yi, xi = (y0 + dy), (x0 + dx)
            weight = (1 - (y - yi).abs()) * (1 - (x - xi).abs())
            inside = (yi >= 0) & (yi < height) & (xi >= 0) & (xi < width)
            value = image[:, yi.clamp(0, height - 1).long(), xi.clamp(0, width - 1).long()]
            total = total + value * (weight * inside)
    return total


def nms():
    from mmcv.ops import nms as op

    corner = torch.rand(200, 2) * 50
    boxes = torch.cat([corner, corner + 5 + torch.rand(200, 2) * 20], dim=1)
    scores = torch.randperm(200).float() / 200
    keep, order = [], scores.argsort(descending=True).tolist()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in order:
        for j in keep:
            low, high = torch.max(boxes[i, :2], boxes[j, :2]), torch.min(boxes[i, 2:], boxes[j, 2:])
            both = float((high - low).clamp(min=0).prod())
            if both / float(area[i] + area[j] - both) > 0.4:
                break
        else:
            keep.append(i)
    dets, indices = op(boxes, scores, 0.4)
    if indices.tolist() != keep or not 1 < len(keep) < 200:
        raise AssertionError(f"kept {indices.tolist()} instead of {keep}")
    if not torch.equal(dets, torch.cat([boxes[keep], scores[keep, None]], dim=1)):
        raise AssertionError("the boxes returned are not those kept")
    return {"kept": len(keep), "of": 200}


def roi_align():
    from mmcv.ops import roi_align as op

    features = torch.randn(2, 3, 20, 24)
    rois = torch.tensor([[0, 4.0, 6.0, 60.0, 50.0], [1, 10.5, 3.2, 80.0, 70.0], [0, 33.0, 20.0, 47.0, 71.0]])
    scale, out, ratio = 0.25, 5, 2
    expected = torch.zeros(3, 3, out, out)
    grid = (torch.arange(out * ratio) + 0.5) / ratio
    for n, roi in enumerate(rois):
        x1, y1, x2, y2 = (roi[1:] * scale - 0.5).tolist()
        ys = (y1 + grid * (y2 - y1) / out)[:, None].expand(-1, out * ratio).clamp(min=0)
        xs = (x1 + grid * (x2 - x1) / out)[None].expand(out * ratio, -1).clamp(min=0)
        points = bilinear(features[int(roi[0])], ys, xs)
        expected[n] = points.reshape(3, out, ratio, out, ratio).mean(dim=(2, 4))
    return compare(op(features, rois, (out, out), scale, ratio, "avg", True), expected)


def voxelization():
    from mmcv.ops import Voxelization

    size, area, most_points, most_voxels = (0.5, 0.5, 1.0), (0.0, -4.0, -2.0, 8.0, 4.0, 2.0), 4, 150
    points = torch.rand(1500, 4) * torch.tensor([9.0, 9.0, 5.0, 1.0]) - torch.tensor([0.5, 4.5, 2.5, 0.0])
    low, step = torch.tensor(area[:3]), torch.tensor(size)
    cells = torch.floor((points[:, :3] - low) / step).long()
    limit = torch.tensor([16, 16, 4])
    found = {}
    for point, cell in zip(points, cells):
        if bool(((cell < 0) | (cell >= limit)).any()):
            continue
        key = tuple(reversed(cell.tolist()))
        if key not in found and len(found) >= most_voxels:
            continue
        bag = found.setdefault(key, [])
        if len(bag) < most_points:
            bag.append(point)
    layer = Voxelization(list(size), list(area), most_points, most_voxels).eval()
    voxels, coordinates, counts = layer(points)
    if [tuple(c) for c in coordinates.tolist()] != list(found) or counts.tolist() != [len(b) for b in found.values()]:
        raise AssertionError("other cells, another order or other counts")
    expected = torch.zeros(len(found), most_points, 4)
    for n, bag in enumerate(found.values()):
        expected[n, : len(bag)] = torch.stack(bag)
    return {**compare(voxels, expected, 0.0), "voxels": len(found), "points": int(sum(counts))}


def deformable_attention():
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch as op

    batch, heads, dim, queries, points = 2, 4, 8, 7, 3
    shapes = torch.tensor([[9, 11], [5, 6], [3, 3]])
    value = torch.randn(batch, int(shapes.prod(1).sum()), heads, dim)
    places = torch.rand(batch, queries, heads, len(shapes), points, 2) * 1.2 - 0.1
    weights = torch.rand(batch, queries, heads, len(shapes) * points).softmax(-1)
    weights = weights.view(batch, queries, heads, len(shapes), points)
    expected = torch.zeros(batch, queries, heads, dim)
    start = 0
    for level, (height, width) in enumerate(shapes.tolist()):
        part = value[:, start : start + height * width].reshape(batch, height, width, heads, dim)
        start += height * width
        for b in range(batch):
            for h in range(heads):
                at = places[b, :, h, level]
                sampled = bilinear(
                    part[b, :, :, h].permute(2, 0, 1), at[..., 1] * height - 0.5, at[..., 0] * width - 0.5
                )
                expected[b, :, h] += (sampled * weights[b, :, h, level]).sum(-1).T
    return compare(op(value, shapes, places, weights), expected.flatten(2))


def deformable_attention_module():
    """The module as models build it: projections, offsets and the operator; forward and gradient on the CPU."""
    from mmcv.ops import MultiScaleDeformableAttention

    shapes = torch.tensor([[6, 8], [3, 4]])
    layer = MultiScaleDeformableAttention(
        embed_dims=32, num_heads=4, num_levels=2, num_points=2, dropout=0.0, batch_first=True
    )
    layer.init_weights()
    torch.nn.init.normal_(layer.attention_weights.weight, std=0.1)
    query, value = torch.randn(1, 5, 32, requires_grad=True), torch.randn(1, 60, 32)
    reference = torch.rand(1, 5, 2, 2)
    starts = torch.tensor([0, 48])
    found = layer(query, value=value, reference_points=reference, spatial_shapes=shapes, level_start_index=starts)
    projected = layer.value_proj(value).view(1, 60, 4, 8)
    offsets = layer.sampling_offsets(query).view(5, 4, 2, 2, 2)
    weights = layer.attention_weights(query).view(5, 4, 4).softmax(-1).view(5, 4, 2, 2)
    total = torch.zeros(5, 4, 8)
    for level, (height, width) in enumerate(shapes.tolist()):
        part = projected[0, starts[level] : starts[level] + height * width].view(height, width, 4, 8)
        for head in range(4):
            at = reference[0, :, None, level] + offsets[:, head, level] / torch.tensor([width, height])
            sampled = bilinear(part[:, :, head].permute(2, 0, 1), at[..., 1] * height - 0.5, at[..., 0] * width - 0.5)
            total[:, head] = total[:, head] + (sampled * weights[:, head, level]).sum(-1).T
    expected = layer.output_proj(total.reshape(1, 5, 32)) + query
    detail = compare(found, expected)
    (gradient,) = torch.autograd.grad(found.square().sum(), query, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected.square().sum(), query)
    return {**detail, "gradient": compare(gradient, wanted, 2e-3)["largest difference"]}


def modulated_deformable_convolution():
    from mmcv.ops import modulated_deform_conv2d as op

    if getattr(op, "__self__", op).__module__.startswith("mx_driving"):
        # The model's overlay put an operator for NPUs in the place of mmcv's.
        raise NotHereError("needs a device")
    inputs, outputs, side, stride, padding = 4, 6, 3, 2, 1
    image = torch.randn(2, inputs, 11, 13)
    weight, bias = torch.randn(outputs, inputs, side, side) / 6, torch.randn(outputs)
    height, width = (math.floor((n + 2 * padding - side) / stride) + 1 for n in image.shape[2:])
    offset = torch.randn(2, 2 * side * side, height, width)
    mask = torch.rand(2, side * side, height, width)
    rows = (torch.arange(height) * stride - padding)[:, None].float()
    columns = (torch.arange(width) * stride - padding)[None].float()
    expected = bias.view(1, -1, 1, 1).repeat(2, 1, height, width)
    for b in range(2):
        for k in range(side * side):
            sampled = bilinear(image[b], rows + k // side + offset[b, 2 * k], columns + k % side + offset[b, 2 * k + 1])
            expected[b] += torch.einsum("oc,chw->ohw", weight[:, :, k // side, k % side], sampled * mask[b, k])
    return compare(op(image, offset, mask, weight, bias, stride, padding, 1, 1, 1), expected)


def extension():
    specification = importlib.util.find_spec("mmcv._ext")
    if specification is None:
        raise AssertionError("mmcv was built without operators")
    from mmcv.ops import get_compiler_version, get_compiling_cuda_version

    found = {"compiler": get_compiler_version(), "cuda": get_compiling_cuda_version()}
    if found["cuda"] != "not available":
        raise AssertionError(f"the operators were compiled with CUDA: {found}")
    return found


guard("mmcv extension", extension)
guard("mmcv nms", nms)
guard("mmcv roi_align", roi_align)
guard("mmcv voxelization", voxelization)
guard("mmcv multi-scale deformable attention function", deformable_attention)
guard("mmcv multi-scale deformable attention module", deformable_attention_module)
guard("mmcv modulated deformable convolution", modulated_deformable_convolution)
report("mmcv without a device", not torch.cuda.is_available(), {"torch": torch.__version__})
finish()

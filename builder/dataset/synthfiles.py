"""Bytes of the files that nuScenes is made of, in the formats its devkit reads: pictures, points, labels."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from builder.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["camera_jpeg", "lidar_points", "mask_png", "npz", "point_labels", "radar_pcd"]

IMAGE_SIZE = (1600, 900)
"""Width and height of every camera picture of nuScenes, in pixels."""

_RADAR_HEADER = """\
# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z dyn_prop id rcs vx vy vx_comp vy_comp is_quality_valid ambig_state x_rms y_rms invalid_state pdh0 \
vx_rms vy_rms
SIZE 4 4 4 1 2 4 4 4 4 4 1 1 1 1 1 1 1 1
TYPE F F F I I F F F F F I I I I I I I I
COUNT 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
WIDTH {count}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {count}
DATA binary
"""
_RADAR_POINT = struct.Struct("<3fbh5f8b")


def camera_jpeg(rng: random.Random) -> bytes:
    """Return a JPEG of 1600 by 900 pixels: sky, road and a few boxes.

    Raises:
        UsageError: when Pillow is not installed.
    """
    image, draw = _canvas("RGB", IMAGE_SIZE, (150 + rng.randrange(60), 180, 220))
    width, height = IMAGE_SIZE
    draw.rectangle((0, height // 2, width, height), fill=(90, 90, 90 + rng.randrange(20)))
    for _ in range(12):
        left, top = rng.randrange(width), height // 2 - rng.randrange(120)
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        draw.rectangle((left, top, left + 20 + rng.randrange(160), top + 20 + rng.randrange(200)), fill=colour)
    return _encoded(image, "JPEG", quality=60)


def mask_png(width: int, height: int) -> bytes:
    """Return the PNG of a map's mask: one channel, 255 where one can drive.

    Raises:
        UsageError: when Pillow is not installed.
    """
    image, draw = _canvas("L", (width, height), 0)
    draw.rectangle((0, height * 2 // 5, width, height * 3 // 5), fill=255)
    return _encoded(image, "PNG")


def _canvas(mode: str, size: tuple[int, int], colour: int | tuple[int, int, int]) -> tuple[Image, ImageDraw]:
    try:
        from PIL import Image as Images
        from PIL import ImageDraw as Draws
    except ImportError as error:
        hint = "pip install 'drivebuild[synth]', or pip install pillow"
        raise UsageError("pictures are made with Pillow, which is not installed", hint=hint) from error
    image = Images.new(mode, size, colour)
    return image, Draws.Draw(image)


def _encoded(image: Image, form: str, **options: int) -> bytes:
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def lidar_points(
    rng: random.Random, boxes: Sequence[tuple[float, float, float]], count: int
) -> tuple[bytes, list[int]]:
    """Return `count` points as five little-endian float32 each, and for each the box it lies in: -1 is the ground.

    `boxes` are centres in the lidar's frame, in metres.
    """
    values = array("f")
    owners: list[int] = []
    for index in range(count):
        owner = index % (3 * len(boxes)) if boxes else -1
        if 0 <= owner < len(boxes):
            centre = boxes[owner]
            place = [axis + rng.uniform(-0.4, 0.4) for axis in centre]
        else:
            owner = -1
            place = [rng.uniform(-50, 50), rng.uniform(-50, 50), -1.84 + rng.uniform(-0.05, 0.05)]
        values.extend([*place, float(rng.randrange(100)), float(index % 32)])
        owners.append(owner)
    if struct.pack("=h", 1) != struct.pack("<h", 1):
        values.byteswap()
    return values.tobytes(), owners


def radar_pcd(rng: random.Random, count: int) -> bytes:
    """Return a radar file of `count` points; as in real ones, a byte follows the last."""
    body = b"".join(
        _RADAR_POINT.pack(
            *(rng.uniform(1, 80), rng.uniform(-30, 30), 0.0, rng.choice((0, 1, 3)), index, rng.uniform(-5, 20)),
            *(rng.uniform(-8, 8), 0.0, rng.uniform(-8, 8), 0.0),
            *(1, 3, 19, 19, 0, 1, 16, 3),
        )
        for index in range(count)
    )
    return _RADAR_HEADER.format(count=count).encode() + body + b"\n"


def point_labels(labels: Sequence[int]) -> bytes:
    """Return lidarseg labels: one byte for each point, the category's index."""
    return bytes(labels)


def npz(arrays: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """Return what numpy.savez_compressed would write: for each name a dtype ('|u1', '<u2'), a shape and the values.

    The format is documented with numpy.lib.format; no clock gets into the archive.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, (dtype, shape, values) in arrays.items():
            header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
            padded = header + " " * (63 - (10 + len(header)) % 64) + "\n"
            head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode("latin1")
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, head + values)
    return target.getvalue()

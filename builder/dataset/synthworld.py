"""What is in the synthetic scenes: sensors and where they sit, kinds of things, and which scene lies in which split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ATTRIBUTES", "CATEGORIES", "MOUNTS", "SCENES", "THINGS", "VISIBILITIES", "Thing", "intrinsic", "yaw"]

SCENES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "v1.0-trainval": (
        tuple(f"scene-{n:04}" for n in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11, *range(19, 35), *range(41, 55))),
        tuple(f"scene-{n:04}" for n in (3, *range(12, 19), 35, 36, 38, 39, *range(92, 111))),
    ),
    "v1.0-mini": (
        tuple(f"scene-{n:04}" for n in (61, 553, 655, 757, 796, 1077, 1094, 1100)),
        ("scene-0103", "scene-0916"),
    ),
    "v1.0-test": (tuple(f"scene-{n:04}" for n in (*range(77, 92), *range(111, 120), 140, *range(142, 149))), ()),
}
"""For each version the first names of the devkit's two splits (`nuscenes.utils.splits`); test has but one."""

_INDEXED = (
    "noise",
    "animal",
    *(
        f"human.pedestrian.{kind}"
        for kind in (
            "adult",
            "child",
            "construction_worker",
            "personal_mobility",
            "police_officer",
            "stroller",
            "wheelchair",
        )
    ),
    *(f"movable_object.{kind}" for kind in ("barrier", "debris", "pushable_pullable", "trafficcone")),
    "static_object.bicycle_rack",
    *(
        f"vehicle.{kind}"
        for kind in (
            "bicycle",
            "bus.bendy",
            "bus.rigid",
            "car",
            "construction",
            "emergency.ambulance",
            "emergency.police",
            "motorcycle",
            "trailer",
            "truck",
        )
    ),
    *(f"flat.{kind}" for kind in ("driveable_surface", "other", "sidewalk", "terrain")),
    *(f"static.{kind}" for kind in ("manmade", "other", "vegetation")),
    "vehicle.ego",
)
CATEGORIES = _INDEXED
"""The 32 classes of nuScenes-lidarseg; a class' place is its index, which is what a label holds."""

ATTRIBUTES = (
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.moving",
    "pedestrian.standing",
    "pedestrian.sitting_lying_down",
    "vehicle.moving",
    "vehicle.parked",
    "vehicle.stopped",
)
VISIBILITIES = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}


@dataclass(frozen=True, slots=True)
class Thing:
    """An annotated object: metres and radians in the ego vehicle's frame, and how it moves with the ego vehicle."""

    category: str
    attribute: str
    size: tuple[float, float, float]
    """Width, length, height."""
    place: tuple[float, float]
    """Ahead and to the left."""
    turn: float
    speed: float
    """Share of the ego vehicle's own speed."""


THINGS = (
    Thing("vehicle.car", "vehicle.moving", (1.9, 4.6, 1.7), (19.3, 0.4), 0.02, 1.0),
    Thing("vehicle.truck", "vehicle.moving", (2.6, 8.1, 3.2), (-24.7, 0.9), -0.03, 1.0),
    Thing("vehicle.car", "vehicle.parked", (2.0, 4.4, 1.6), (13.2, 21.4), 0.4, 0.0),
    Thing("human.pedestrian.adult", "pedestrian.moving", (0.7, 0.8, 1.8), (15.8, -19.6), 1.4, 0.1),
    Thing("vehicle.bicycle", "cycle.with_rider", (0.6, 1.7, 1.4), (-8.9, 21.7), 0.1, 0.7),
    Thing("vehicle.motorcycle", "cycle.without_rider", (0.8, 2.1, 1.5), (-9.7, -22.6), 0.6, 0.0),
    Thing("movable_object.trafficcone", "", (0.4, 0.4, 1.1), (31.1, 3.7), 0.0, 0.0),
    Thing("movable_object.barrier", "", (2.3, 0.6, 1.0), (34.6, -5.2), 1.1, 0.0),
    Thing("vehicle.bus.rigid", "vehicle.stopped", (2.9, 11.3, 3.4), (46.9, -7.7), 0.05, 0.0),
    Thing("vehicle.construction", "vehicle.parked", (2.8, 6.4, 3.1), (-38.4, 6.1), 0.9, 0.0),
    Thing("vehicle.trailer", "vehicle.parked", (2.5, 10.2, 3.8), (-44.8, -6.9), 0.1, 0.0),
)


def yaw(angle: float) -> tuple[float, float, float, float]:
    """Return the quaternion (w, x, y, z) of a turn about the upward axis by `angle` radians."""
    return math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)


def _product(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float, float]:
    return (
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


def _camera(degrees: float) -> tuple[float, float, float, float]:
    # A camera looks along its z axis, with x to the right and y down.
    return _product(yaw(math.radians(degrees)), (0.5, -0.5, 0.5, -0.5))


MOUNTS: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float, float]]] = {
    "CAM_BACK": ((0.03, 0.0, 1.58), _camera(180)),
    "CAM_BACK_LEFT": ((1.05, 0.48, 1.59), _camera(110)),
    "CAM_BACK_RIGHT": ((1.04, -0.48, 1.58), _camera(-110)),
    "CAM_FRONT": ((1.72, 0.0, 1.51), _camera(0)),
    "CAM_FRONT_LEFT": ((1.57, 0.5, 1.51), _camera(55)),
    "CAM_FRONT_RIGHT": ((1.58, -0.5, 1.51), _camera(-55)),
    "LIDAR_TOP": ((0.94, 0.0, 1.84), yaw(-math.pi / 2)),
    "RADAR_BACK_LEFT": ((-0.56, 0.62, 0.53), yaw(math.radians(90))),
    "RADAR_BACK_RIGHT": ((-0.56, -0.62, 0.54), yaw(math.radians(-90))),
    "RADAR_FRONT": ((3.41, 0.0, 0.5), yaw(0.0)),
    "RADAR_FRONT_LEFT": ((2.42, 0.8, 0.78), yaw(math.radians(90))),
    "RADAR_FRONT_RIGHT": ((2.42, -0.8, 0.77), yaw(math.radians(-90))),
}
"""Where each sensor sits in the ego vehicle's frame (metres), and its rotation as quaternion (w, x, y, z)."""


def intrinsic(channel: str) -> list[list[float]]:
    """Return a camera's 3 by 3 matrix in pixels; nothing for another sensor."""
    if not channel.startswith("CAM_"):
        return []
    focal = 809.2 if channel == "CAM_BACK" else 1266.4
    return [[focal, 0.0, 816.3], [0.0, focal, 491.5], [0.0, 0.0, 1.0]]

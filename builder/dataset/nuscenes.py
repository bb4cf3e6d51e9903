"""What nuScenes is: its tables, folders, downloads and counts. Everything a model needs of it stands in its recipe.

Sources. Tables, sensors, messages and layouts: the data set's devkit, release 1.2.0, which reads them by these names.
Scenes and key frames of the three versions: nuScenes' own description of its releases. Rows of the other tables: what
the devkit prints when it loads a release, as commonly published; not counted here, where no real nuScenes is. Names of
the downloads: its download page. `gts` is Occ3D-nuScenes (its release has one labels.npz for each key frame).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "CAN_BUS_ABSENT",
    "CHANNELS",
    "DOWNLOADS",
    "LABELLED",
    "LOCATIONS",
    "PARTS",
    "POINT_BYTES",
    "TABLES",
    "VERSIONS",
    "Download",
    "Version",
    "download_of",
]

TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)
"""The thirteen tables that every version has, as `<version>/<table>.json`."""

LABELLED = ("lidarseg", "panoptic")
"""Labels of lidar points: a table of its own in `<version>/`, files in `<name>/<version>/`; none for v1.0-test."""

LOCATIONS = ("boston-seaport", "singapore-hollandvillage", "singapore-onenorth", "singapore-queenstown")
"""The four maps of the map expansion: `maps/expansion/<location>.json`."""

POINT_BYTES = 20
"""A lidar point is five float32: x, y, z, intensity, ring. One lidarseg label is one byte for each point."""

CHANNELS: Mapping[str, str] = {
    "CAM_BACK": "camera",
    "CAM_BACK_LEFT": "camera",
    "CAM_BACK_RIGHT": "camera",
    "CAM_FRONT": "camera",
    "CAM_FRONT_LEFT": "camera",
    "CAM_FRONT_RIGHT": "camera",
    "LIDAR_TOP": "lidar",
    "RADAR_BACK_LEFT": "radar",
    "RADAR_BACK_RIGHT": "radar",
    "RADAR_FRONT": "radar",
    "RADAR_FRONT_LEFT": "radar",
    "RADAR_FRONT_RIGHT": "radar",
}
"""The twelve sensors and their kind; each is a folder below `samples/` and `sweeps/`."""

CAN_BUS_ABSENT = frozenset({*range(161, 169), *range(170, 177), *range(309, 315)})
"""Numbers of the scenes for which no CAN bus data was published (the devkit's `can_blacklist`)."""

PARTS: Mapping[str, tuple[str, ...]] = {
    "maps": ("expansion",),
    "can_bus": ("ms_imu", "pose", "route", "steeranglefeedback", "vehicle_monitor", "zoe_veh_info", "zoesensors"),
}
"""What a recipe may name under `parts` of an entry: pieces that can be absent although the entry is there."""


@dataclass(frozen=True, slots=True)
class Version:
    """One release: how many rows of each table were published, and which downloads hold its files."""

    rows: Mapping[str, int]
    labelled: bool = True
    """Whether it has annotations, lidarseg and panoptic labels."""


VERSIONS: Mapping[str, Version] = {
    "v1.0-trainval": Version(
        {
            "attribute": 8,
            "calibrated_sensor": 10_200,
            "ego_pose": 2_631_083,
            "instance": 64_386,
            "log": 68,
            "map": 4,
            "sample": 34_149,
            "sample_annotation": 1_166_187,
            "sample_data": 2_631_083,
            "scene": 850,
            "sensor": 12,
            "visibility": 4,
        }
    ),
    "v1.0-test": Version(
        {
            "attribute": 8,
            "calibrated_sensor": 1_800,
            "ego_pose": 462_901,
            "instance": 0,
            "log": 15,
            "map": 4,
            "sample": 6_008,
            "sample_annotation": 0,
            "sample_data": 462_901,
            "scene": 150,
            "sensor": 12,
            "visibility": 4,
        },
        labelled=False,
    ),
    "v1.0-mini": Version(
        {
            "attribute": 8,
            "calibrated_sensor": 120,
            "ego_pose": 31_206,
            "instance": 911,
            "log": 8,
            "map": 4,
            "sample": 404,
            "sample_annotation": 18_538,
            "sample_data": 31_206,
            "scene": 10,
            "sensor": 12,
            "visibility": 4,
        }
    ),
}


@dataclass(frozen=True, slots=True)
class Download:
    """One thing to fetch from the download page, and the names that its archives have."""

    title: str
    archives: tuple[str, ...] = field(default=())
    """Patterns of file names, for finding one that was fetched and not unpacked."""


DOWNLOADS: Mapping[str, Download] = {
    "v1.0-trainval": Download("Full dataset (v1.0), Trainval: Metadata", ("v1.0-trainval_meta*",)),
    "v1.0-test": Download("Full dataset (v1.0), Test: Metadata", ("v1.0-test_meta*",)),
    "v1.0-mini": Download("Full dataset (v1.0), Mini", ("v1.0-mini*",)),
    "blobs-v1.0-trainval": Download(
        "Full dataset (v1.0), Trainval: file blobs of 85 scenes, parts 1 to 10",
        ("v1.0-trainval??_*", "v1.0-trainval??.*"),
    ),
    "blobs-v1.0-test": Download("Full dataset (v1.0), Test: file blobs", ("v1.0-test_blobs*",)),
    "blobs-v1.0-mini": Download("Full dataset (v1.0), Mini", ("v1.0-mini*",)),
    "maps": Download("Full dataset (v1.0): Metadata, which has the maps' masks too", ("v1.0-*_meta*",)),
    "maps/expansion": Download("Map expansion, v1.3", ("nuScenes-map-expansion*",)),
    "can_bus": Download("CAN bus expansion", ("can_bus*",)),
    "lidarseg": Download("nuScenes-lidarseg: All", ("nuScenes-lidarseg*",)),
    "panoptic": Download("nuScenes-panoptic: All", ("nuScenes-panoptic*",)),
    "gts": Download("Occ3D-nuScenes: gts", ("gts*",)),
}


def download_of(path: str, version: str = "") -> str:
    """Return the key in DOWNLOADS of what holds `path`, relative to the data set's folder; '' if none is known.

    >>> download_of("sweeps/LIDAR_TOP/x.pcd.bin", "v1.0-test")
    'blobs-v1.0-test'
    >>> download_of("v1.0-trainval/lidarseg.json")
    'lidarseg'
    """
    first, _, rest = path.partition("/")
    if first in ("samples", "sweeps"):
        return f"blobs-{version or 'v1.0-trainval'}"
    if first == "maps" and rest.partition("/")[0] == "expansion":
        return "maps/expansion"
    table = rest.removesuffix(".json")
    if first in VERSIONS and table in LABELLED:
        return table
    return first if first in DOWNLOADS else ""

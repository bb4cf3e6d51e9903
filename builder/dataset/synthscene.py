"""One synthetic scene: a drive down the map's road, with all sensors, things beside the road, labels and messages."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Protocol

from builder.dataset.nuscenes import CHANNELS, LOCATIONS, VERSIONS
from builder.dataset.synthbus import bus_messages
from builder.dataset.synthfiles import IMAGE_SIZE, camera_jpeg, lidar_points, npz, point_labels, radar_pcd
from builder.dataset.synthmap import HEADING, on_road
from builder.dataset.synthworld import CATEGORIES, MOUNTS, THINGS, Thing, intrinsic, yaw

__all__ = ["SceneMaker"]

SPEED = 4.3
"""Metres a second of the ego vehicle."""
INTERVAL = 500_000
"""Microseconds between key frames: 2 Hz."""
SWEEPS = {"camera": 1, "lidar": 4, "radar": 1}
"""Frames between two key frames; the real ones are about 5, 9 and 6."""
POINTS = 640
_ENDINGS = {"camera": ("jpg", "jpg"), "lidar": ("pcd", "pcd.bin"), "radar": ("pcd", "pcd")}
_GROUND = CATEGORIES.index("flat.driveable_surface")
_GRID = (200, 200, 16)
"""Occ3D's voxels: 80 m by 80 m by 6.4 m around the ego vehicle; 17 is free space."""


class Target(Protocol):
    """Takes files."""

    def write(self, path: str, content: bytes) -> None:
        """Write one file."""
        ...

    def json(self, path: str, content: Any) -> None:
        """Write one JSON file."""
        ...


class SceneMaker:
    """Adds one scene's rows to the tables and writes its files."""

    def __init__(
        self,
        files: Target,
        tables: dict[str, list[dict[str, Any]]],
        version: str,
        name: str,
        index: int,
        samples: int,
        token: Callable[[str], str],
        rng: random.Random,
    ) -> None:
        self._files = files
        self._tables = tables
        self._version = version
        self._name = name
        self._count = samples
        self._make_token = token
        self._rng = rng
        self._labelled = VERSIONS[version].labelled
        self._start = 1_533_000_000_000_000 + (int(name[-4:]) * 60 + index) * 1_000_000
        self._location = LOCATIONS[index % len(LOCATIONS)]
        self._logfile = f"n0{15 + index % 2}-synthetic-{name}"
        self._samples = [self._token(f"sample/{number}") for number in range(samples)]
        self._calibrated = {channel: self._token(f"calibrated/{channel}") for channel in MOUNTS}

    def make(self) -> None:
        """Write the scene."""
        self._scene_rows()
        for channel, kind in CHANNELS.items():
            self._frames(channel, kind)
        if self._labelled:
            self._annotations()
            for number in range(self._count):
                self._occupancy(number)
        for message, content in bus_messages(self._pose, self._start, self._end, INTERVAL // 25).items():
            self._files.json(f"can_bus/{self._name}_{message}.json", content)

    @property
    def _end(self) -> int:
        return self._start + (self._count - 1) * INTERVAL

    def _token(self, text: str) -> str:
        return self._make_token(f"{self._version}/{self._name}/{text}")

    def _add(self, table: str, **row: Any) -> None:
        self._tables[table].append(row)

    def _pose(self, time: int) -> tuple[list[float], float]:
        """Return where the ego vehicle is at a time in microseconds: x, y, z in metres, and its direction."""
        seconds = (time - self._start) / 1e6
        left = -1.8 + 0.2 * math.sin(seconds)
        x, y = on_road(20.3 + SPEED * seconds, left)
        return [x, y, 0.0], HEADING + 0.01 * math.cos(seconds)

    def _scene_rows(self) -> None:
        log = self._token("log")
        self._add(
            "log",
            token=log,
            logfile=self._logfile,
            vehicle=self._logfile[:4],
            date_captured="2018-07-31",
            location=self._location,
        )
        self._add(
            "scene",
            token=self._token("scene"),
            log_token=log,
            nbr_samples=self._count,
            first_sample_token=self._samples[0],
            last_sample_token=self._samples[-1],
            name=self._name,
            description="Synthetic scene",
        )
        for number, sample in enumerate(self._samples):
            self._add(
                "sample",
                token=sample,
                timestamp=self._start + number * INTERVAL,
                **_neighbours(self._samples, number),
                scene_token=self._token("scene"),
            )
        for channel, (place, rotation) in MOUNTS.items():
            self._add(
                "calibrated_sensor",
                token=self._calibrated[channel],
                sensor_token=self._make_token(f"sensor/{channel}"),
                translation=place,
                rotation=rotation,
                camera_intrinsic=intrinsic(channel),
            )

    def _frames(self, channel: str, kind: str) -> None:
        between = SWEEPS[kind] + 1
        number = (self._count - 1) * between + 1
        tokens = [self._token(f"data/{channel}/{index}") for index in range(number)]
        # Sensors fire one after the other, as the real ones do.
        offset = list(CHANNELS).index(channel) * 3_000
        pictures = [camera_jpeg(self._rng) for _ in range(2)] if kind == "camera" else []
        for index, token in enumerate(tokens):
            time = self._start + index * INTERVAL // between + (offset if kind != "lidar" else 0)
            key = index % between == 0
            ending = _ENDINGS[kind]
            folder = "samples" if key else "sweeps"
            path = f"{folder}/{channel}/{self._logfile}__{channel}__{time}.{ending[1]}"
            sample = self._samples[-(-index // between)]
            self._data_row(token, sample, channel, time, path, ending[0], _neighbours(tokens, index))
            if kind == "camera":
                self._files.write(path, pictures[index % 2])
            elif kind == "radar":
                self._files.write(path, radar_pcd(self._rng, 12))
            else:
                self._lidar(path, token, time)

    def _data_row(
        self, token: str, sample: str, channel: str, time: int, path: str, form: str, around: dict[str, str]
    ) -> None:
        width, height = IMAGE_SIZE if form == "jpg" else (0, 0)
        place, direction = self._pose(time)
        self._add("ego_pose", token=token, timestamp=time, rotation=yaw(direction), translation=place)
        self._add(
            "sample_data",
            token=token,
            sample_token=sample,
            ego_pose_token=token,
            calibrated_sensor_token=self._calibrated[channel],
            timestamp=time,
            fileformat=form,
            is_key_frame=path.startswith("samples/"),
            height=height,
            width=width,
            filename=path,
            **around,
        )

    def _lidar(self, path: str, token: str, time: int) -> None:
        (dx, dy, dz), _ = MOUNTS["LIDAR_TOP"]
        places = [self._beside(thing, time) for thing in THINGS]
        # The lidar's x axis points to the right, its y axis ahead.
        boxes = [(-(y - dy), x - dx, thing.size[2] / 2 - dz) for thing, (x, y) in zip(THINGS, places, strict=True)]
        content, owners = lidar_points(self._rng, boxes if self._labelled else [], POINTS)
        self._files.write(path, content)
        if not (path.startswith("samples/") and self._labelled):
            return
        classes = [CATEGORIES.index(thing.category) for thing in THINGS]
        labels = [_GROUND if owner < 0 else classes[owner] for owner in owners]
        instances = [1000 * label + (owner + 1) for label, owner in zip(labels, owners, strict=True)]
        seg = f"lidarseg/{self._version}/{token}_lidarseg.bin"
        pan = f"panoptic/{self._version}/{token}_panoptic.npz"
        self._files.write(seg, point_labels(labels))
        values = b"".join(instance.to_bytes(2, "little") for instance in instances)
        self._files.write(pan, npz({"data": ("<u2", (len(instances),), values)}))
        self._add("lidarseg", token=token, sample_data_token=token, filename=seg)
        self._add("panoptic", token=token, sample_data_token=token, filename=pan)

    def _beside(self, thing: Thing, time: int) -> tuple[float, float]:
        """Return a thing's place in the ego vehicle's frame at a time."""
        driven = SPEED * (time - self._start) / 1e6
        return thing.place[0] - driven * (1 - thing.speed), thing.place[1]

    def _annotations(self) -> None:
        for index, thing in enumerate(THINGS):
            tokens = [self._token(f"annotation/{index}/{number}") for number in range(self._count)]
            instance = self._token(f"instance/{index}")
            self._add(
                "instance",
                token=instance,
                category_token=self._make_token(f"category/{thing.category}"),
                nbr_annotations=self._count,
                first_annotation_token=tokens[0],
                last_annotation_token=tokens[-1],
            )
            for number, token in enumerate(tokens):
                time = self._start + number * INTERVAL
                place, direction = self._pose(time)
                ahead, left = self._beside(thing, time)
                cos, sin = math.cos(direction), math.sin(direction)
                x, y = place[0] + ahead * cos - left * sin, place[1] + ahead * sin + left * cos
                self._add(
                    "sample_annotation",
                    token=token,
                    sample_token=self._samples[number],
                    instance_token=instance,
                    visibility_token=str(1 + (index + number) % 4),
                    attribute_tokens=[self._make_token(f"attribute/{thing.attribute}")] if thing.attribute else [],
                    translation=[x, y, thing.size[2] / 2],
                    size=thing.size,
                    rotation=yaw(direction + thing.turn),
                    **_neighbours(tokens, number),
                    num_lidar_pts=POINTS // (3 * len(THINGS)),
                    num_radar_pts=index % 3,
                )

    def _occupancy(self, number: int) -> None:
        voxels = bytearray(b"\x11") * math.prod(_GRID)
        # The lowest layer is road (11), so that every class' share is not zero.
        for column in range(_GRID[0] * _GRID[1]):
            voxels[column * _GRID[2]] = 11
        for thing in THINGS:
            ahead, left = self._beside(thing, self._start + number * INTERVAL)
            x, y = int((ahead + 40) / 0.4), int((left + 40) / 0.4)
            if 0 <= x < _GRID[0] and 0 <= y < _GRID[1]:
                voxels[(x * _GRID[1] + y) * _GRID[2] + 3] = 4
        seen = b"\x01" * len(voxels)
        grid = {name: ("|u1", _GRID, data) for name, data in (("semantics", bytes(voxels)), ("mask_lidar", seen))}
        path = f"gts/{self._name}/{self._samples[number]}/labels.npz"
        self._files.write(path, npz({**grid, "mask_camera": ("|u1", _GRID, seen)}))


def _neighbours(tokens: list[str], index: int) -> dict[str, str]:
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    return {"prev": tokens[index - 1] if index else "", "next": after}

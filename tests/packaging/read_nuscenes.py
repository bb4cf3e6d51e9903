"""Reads a data set with nuScenes' own devkit; run by test_devkit.py with the Python that has it.

    python read_nuscenes.py FOLDER VERSION...

Prints one JSON object with what was found; any complaint of the devkit is a traceback and exit code 1.
"""

import json
import sys
from pathlib import Path

import numpy as np
from nuscenes.can_bus.can_bus_api import NuScenesCanBus
from nuscenes.map_expansion.map_api import NuScenesMap, locations
from nuscenes.nuscenes import NuScenes
from nuscenes.utils import splits
from nuscenes.utils.data_classes import LidarPointCloud, RadarPointCloud
from nuscenes.utils.data_io import load_bin_file
from PIL import Image

root, *versions = sys.argv[1:]
FOLDER = Path(root)
SPLITS = {
    "v1.0-trainval": ("train", "val"),
    "v1.0-mini": ("mini_train", "mini_val"),
    "v1.0-test": ("test",),
}


def read_sample(data, sample):
    """Open every file of a key frame, and count what is in it."""
    found = {"boxes": len(sample["anns"]), "seen": 0}
    assert len(sample["data"]) == 12
    for channel, token in sample["data"].items():
        path, boxes, intrinsic = data.get_sample_data(token)
        if channel.startswith("CAM_"):
            assert Image.open(path).size == (1600, 900)
            assert intrinsic.shape == (3, 3)
            found["seen"] += len(boxes)
        elif channel == "LIDAR_TOP":
            found["points"] = LidarPointCloud.from_file(path).points.shape[1]
        else:
            found["echoes"] = RadarPointCloud.from_file(path).points.shape[1]
    return found


def read_labels(data, sample):
    """Return how many points are labelled, and whether both kinds of labels agree about the classes."""
    token = sample["data"]["LIDAR_TOP"]
    segments = load_bin_file(str(FOLDER / data.get("lidarseg", token)["filename"]), "lidarseg")
    panoptic = load_bin_file(str(FOLDER / data.get("panoptic", token)["filename"]), "panoptic")
    assert (panoptic // 1000 == segments).all()
    return len(segments)


def read_version(version):
    """Return counts of one version."""
    data = NuScenes(version=version, dataroot=root, verbose=False)
    names = {scene["name"] for scene in data.scene}
    shares = {split: len(names & set(getattr(splits, split))) for split in SPLITS[version]}
    samples = [read_sample(data, sample) for sample in data.sample]
    found = {"scenes": len(names), "splits": shares, "samples": samples, "sweeps": len(data.sample_data)}
    if version != "v1.0-test":
        found["labels"] = [read_labels(data, sample) for sample in data.sample]
        moved = [np.linalg.norm(data.box_velocity(row["token"])) for row in data.sample_annotation]
        found["fastest"] = float(np.nanmax(moved))
        # The vehicle is on the map, and where its CAN bus says that it is.
        scene = data.scene[0]
        location = data.get("log", scene["log_token"])["location"]
        pose = data.get("ego_pose", data.get("sample", scene["first_sample_token"])["data"]["LIDAR_TOP"])
        layers = NuScenesMap(dataroot=root, map_name=location).layers_on_point(*pose["translation"][:2])
        found["on"] = sorted(layer for layer, token in layers.items() if token)
        bus = NuScenesCanBus(dataroot=root).get_messages(scene["name"], "pose")
        found["off"] = min(float(np.linalg.norm(np.subtract(row["pos"], pose["translation"]))) for row in bus)
    return found


result = {version: read_version(version) for version in versions}
result["maps"] = {name: len(NuScenesMap(dataroot=root, map_name=name).lane) for name in locations}
bus = NuScenesCanBus(dataroot=root)
scene = min(path.name for path in (FOLDER / "can_bus").iterdir()).split("_")[0]
result["messages"] = {name: len(bus.get_messages(scene, name)) for name in bus.all_messages}
print(json.dumps(result))  # noqa: T201

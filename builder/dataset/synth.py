"""Makes a small nuScenes: real schema, real layout, invented content. For tests, and for trying out a conversion.

Every table, picture, point cloud, label, map and CAN bus message is there and names the others as in the real one, so
the devkit and the models' own converters read it. The same seed makes the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from builder.dataset.nuscenes import LOCATIONS, VERSIONS
from builder.dataset.synthfiles import mask_png
from builder.dataset.synthmap import make_map
from builder.dataset.synthscene import SceneMaker
from builder.dataset.synthworld import ATTRIBUTES, CATEGORIES, MOUNTS, SCENES, VISIBILITIES
from builder.errors import UsageError

__all__ = ["MARKER", "Made", "synthesize"]

MARKER = "drivebuild-synth.json"
"""Says in the made folder what made it, so that a check can say that nothing in it was ever measured."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """What was written."""

    scenes: int
    samples: int
    files: int
    bytes: int


def synthesize(
    target: Path,
    *,
    versions: Sequence[str] = ("v1.0-trainval", "v1.0-test"),
    scenes: int = 4,
    samples: int = 5,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> Made:
    """Write `versions` with `scenes` scenes each, `samples` key frames in each scene, below `target`.

    `target` is made at the very end, when all is written; it must not be there, or be empty. v1.0-trainval and
    v1.0-mini get scenes of both the training and the validation split.

    Raises:
        UsageError: for a folder that is not empty or cannot be written, an unknown version, or numbers out of range.
    """
    _check(target, versions, scenes, samples)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise UsageError(f"{error.filename or target}: {error.strerror}", hint="name a folder you may write") from error
    try:
        made = _fill(work, versions, scenes, samples, seed, progress)
        work.chmod(0o777 & ~_umask())
        work.replace(target)
    except OSError as error:
        raise UsageError(f"{error.filename or target}: {error.strerror}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return made


def _at(token: Callable[[str], str], place: str, text: str) -> str:
    return token(f"{place}/{text}")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _check(target: Path, versions: Sequence[str], scenes: int, samples: int) -> None:
    for version in versions:
        if version not in VERSIONS:
            raise UsageError(f"unknown version {version!r}", hint=f"there are {', '.join(VERSIONS)}")
        most = sum(len(names) for names in SCENES[version])
        least = 2 if SCENES[version][1] else 1
        if not least <= scenes <= most:
            raise UsageError(f"--scenes {scenes}: {version} can be made with {least} to {most} scenes")
    if not 2 <= samples <= 40:
        raise UsageError(f"--samples {samples}: a scene has 2 to 40 key frames")
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UsageError(
            f"{target}: is there and not an empty folder", hint="name a new folder; nothing is overwritten"
        )


def _fill(work: Path, versions: Sequence[str], scenes: int, samples: int, seed: int, progress: Progress) -> Made:
    files = Files(work)

    def token(text: str) -> str:
        return hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=16).hexdigest()

    for location in LOCATIONS:
        files.json(f"maps/expansion/{location}.json", make_map(location, partial(_at, token, location)))
        files.write(f"maps/{token(location)}.png", mask_png(400, 300))
    for version in versions:
        names = _chosen(version, scenes)
        tables = _constant_tables(version, token)
        for index, name in enumerate(names):
            progress(f"{version}: {name} ({index + 1} of {len(names)})")
            rng = random.Random(f"{seed}/{version}/{name}")  # noqa: S311 - for variety, not for secrets
            SceneMaker(files, tables, version, name, index, samples, token, rng).make()
        _finish_maps(tables, token)
        for table, rows in tables.items():
            files.json(f"{version}/{table}.json", rows)
    files.json(MARKER, {"made-by": "drivebuild data synth", "seed": seed, "scenes": scenes, "versions": list(versions)})
    return Made(scenes * len(versions), scenes * samples * len(versions), files.count, files.bytes)


class Files:
    """Writes files below a folder and counts them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.count = 0
        self.bytes = 0

    def write(self, path: str, content: bytes) -> None:
        """Write one file; its folder is made."""
        place = self._root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self.count += 1
        self.bytes += len(content)

    def json(self, path: str, content: Any) -> None:
        """Write one JSON file as nuScenes does: a line for each value, no indentation."""
        self.write(path, msgspec.json.format(msgspec.json.encode(content), indent=0))


def _chosen(version: str, scenes: int) -> list[str]:
    """Return the names of as many scenes, a third of them (one at least) of the validation split."""
    train, val = SCENES[version]
    held = min(len(val), max(1, scenes // 3)) if val else 0
    held = max(held, scenes - len(train))
    return sorted([*train[: scenes - held], *val[:held]])


def _constant_tables(version: str, token: Callable[[str], str]) -> dict[str, list[dict[str, Any]]]:
    def described(kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        return [{"token": token(f"{kind}/{name}"), "name": name, "description": f"Synthetic {kind}"} for name in names]

    categories = [{**row, "index": index} for index, row in enumerate(described("category", CATEGORIES))]
    sensors = [
        {
            "token": token(f"sensor/{channel}"),
            "channel": channel,
            "modality": {"C": "camera", "L": "lidar", "R": "radar"}[channel[0]],
        }
        for channel in MOUNTS
    ]
    maps = [
        {
            "token": token(f"map/{location}"),
            "category": "semantic_prior",
            "filename": f"maps/{token(location)}.png",
            "log_tokens": [],
        }
        for location in LOCATIONS
    ]
    empty = ("calibrated_sensor", "ego_pose", "instance", "log", "sample", "sample_annotation", "sample_data", "scene")
    labels = ("lidarseg", "panoptic") if VERSIONS[version].labelled else ()
    return {
        "attribute": described("attribute", ATTRIBUTES),
        "category": categories,
        "map": maps,
        "sensor": sensors,
        "visibility": [{"token": key, "level": level, "description": level} for key, level in VISIBILITIES.items()],
        **{name: [] for name in (*empty, *labels)},
    }


def _finish_maps(tables: dict[str, list[dict[str, Any]]], token: Callable[[str], str]) -> None:
    by_location = {token(f"map/{location}"): location for location in LOCATIONS}
    for row in tables["map"]:
        location = by_location[row["token"]]
        row["log_tokens"] = [log["token"] for log in tables["log"] if log["location"] == location]

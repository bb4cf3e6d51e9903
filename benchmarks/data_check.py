"""`drivebuild data check` on a nuScenes of real size, beside `find` walking it and Python's json parsing its tables.

    python benchmarks/data_check.py FOLDER [--scale 1.0] [--rounds 3] [--keep]

Makes FOLDER/nuscenes with 850 scenes, 34 149 key frames and about 1.4 million files of sensors, each named by a table
with the real one's columns. The files are sparse: they have sizes and no blocks, so that the disk holds them (1.7 GB of
tables, and an inode for each file). Nothing of it goes through drivebuild's own code. With --scale 0.1 a tenth is made.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CAMERAS = tuple(f"CAM_{place}" for place in ("BACK", "BACK_LEFT", "BACK_RIGHT", "FRONT", "FRONT_LEFT", "FRONT_RIGHT"))
RADARS = tuple(f"RADAR_{place}" for place in ("BACK_LEFT", "BACK_RIGHT", "FRONT", "FRONT_LEFT", "FRONT_RIGHT"))
CHANNELS = (*CAMERAS, "LIDAR_TOP", *RADARS)
SCENES, SAMPLES, ANNOTATIONS, FILES = 850, 34_149, 1_166_187, 1_400_000


def token(kind: int, number: int) -> str:
    """Return 32 hexadecimal digits that look like a token."""
    return f"{(number * 0x9E3779B97F4A7C15 + kind) & 0xFFFFFFFFFFFFFFFF:016x}{kind:04x}{number:012x}"


def rows_to(path: Path, rows: Iterator[str]) -> int:
    """Write rows as nuScenes does, a line for each value; return how many."""
    count = 0
    with path.open("w", encoding="ascii", buffering=1 << 20) as file:
        for count, row in enumerate(rows, 1):
            file.write(("[\n" if count == 1 else ",\n") + row)
        file.write("\n]" if count else "[]")
    return count


def fields(**values: object) -> str:
    """Return one row."""
    return "{\n" + ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in values.items()) + "\n}"


def frames(samples: int, files: int) -> Iterator[tuple[int, str, int, bool, str]]:
    """Yield number, channel, sample, whether it is a key frame, and path of each file."""
    number = 0
    sweeps = (files - samples * len(CHANNELS)) // len(CHANNELS)
    for channel in CHANNELS:
        ending = "jpg" if channel in CAMERAS else "pcd.bin" if channel == "LIDAR_TOP" else "pcd"
        for top, count in (("samples", samples), ("sweeps", sweeps)):
            for index in range(count):
                sample = index if top == "samples" else index * samples // sweeps
                stamp = 1_531_281_439_800_013 + index * 50_000
                path = f"{top}/{channel}/n015-2018-07-11-11-54-16+0800__{channel}__{stamp}.{ending}"
                yield number, channel, sample, top == "samples", path
                number += 1


POSE = (
    '{{\n"token": "{0}",\n"timestamp": {1},\n"rotation": [\n0.5720320396729045,\n-0.0016977771610471074,\n'
    '0.011798001930183783,\n-0.8201446642457809\n],\n"translation": [\n411.3039349319818,\n1180.8903791765097,\n0.0\n]'
    "\n}}"
)
DATA = (
    '{{\n"token": "{0}",\n"sample_token": "{1}",\n"ego_pose_token": "{0}",\n"calibrated_sensor_token": "{2}",\n'
    '"timestamp": 1531883530449377,\n"fileformat": "{3}",\n"is_key_frame": {4},\n"height": 900,\n"width": 1600,\n'
    '"filename": "{5}",\n"prev": "{6}",\n"next": "{7}"\n}}'
)
BOX = (
    '{{\n"token": "{0}",\n"sample_token": "{1}",\n"instance_token": "{2}",\n"visibility_token": "4",\n'
    '"attribute_tokens": [\n"cb5118da1ab342aa947717dc53544259"\n],\n"translation": [\n373.214,\n1130.48,\n1.25\n],\n'
    '"size": [\n0.621,\n0.669,\n1.642\n],\n"rotation": [\n0.9831098797903927,\n0.0,\n0.0,\n-0.18301629506281616\n],\n'
    '"prev": "{3}",\n"next": "{4}",\n"num_lidar_pts": 5,\n"num_radar_pts": 0\n}}'
)


def make_tables(root: Path, scale: float) -> None:
    """Write the thirteen tables of v1.0-trainval."""
    scenes, samples, files = max(1, int(SCENES * scale)), int(SAMPLES * scale), int(FILES * scale)
    boxes, instances = int(ANNOTATIONS * scale), int(64_386 * scale)
    base = root / "v1.0-trainval"
    base.mkdir(parents=True)
    small = {
        "attribute": [{"token": token(1, n), "name": f"attribute {n}"} for n in range(8)],
        "visibility": [{"token": str(n), "level": "v"} for n in range(1, 5)],
        "category": [{"token": token(2, n), "name": f"class {n}", "index": n} for n in range(32)],
        "sensor": [{"token": token(3, n), "channel": name, "modality": "camera"} for n, name in enumerate(CHANNELS)],
        "log": [{"token": token(4, n), "logfile": f"log {n}", "location": "boston-seaport"} for n in range(68)],
        "map": [{"token": token(5, 0), "filename": "maps/a.png", "log_tokens": [token(4, n) for n in range(68)]}],
        "scene": [
            {"token": token(6, n), "name": f"scene-{n:04}", "log_token": token(4, n % 68), "nbr_samples": 40}
            for n in range(scenes)
        ],
    }
    for name, rows in small.items():
        (base / f"{name}.json").write_text(json.dumps(rows, indent=0), encoding="ascii")
    sample_rows = (fields(token=token(7, n), scene_token=token(6, n * scenes // samples)) for n in range(samples))
    rows_to(base / "sample.json", sample_rows)
    sensors = (fields(token=token(8, n), sensor_token=token(3, n % 12)) for n in range(scenes * 12))
    rows_to(base / "calibrated_sensor.json", sensors)
    rows_to(
        base / "instance.json", (fields(token=token(9, n), category_token=token(2, n % 32)) for n in range(instances))
    )
    rows_to(
        base / "sample_annotation.json",
        (
            BOX.format(token(10, n), token(7, n % samples), token(9, n % instances), token(10, n - 1), token(10, n + 1))
            for n in range(boxes)
        ),
    )
    rows_to(base / "ego_pose.json", (POSE.format(token(11, n), n) for n, *_ in frames(samples, files)))
    rows_to(
        base / "sample_data.json",
        (
            DATA.format(
                *(token(11, n), token(7, sample), token(8, n % (scenes * 12)), path.rpartition(".")[2]),
                *("true" if key else "false", path, token(11, n - 1), token(11, n + 1)),
            )
            for n, _, sample, key, path in frames(samples, files)
        ),
    )


def make_files(root: Path, scale: float) -> int:
    """Make the files of sensors: sparse, of a size that fits their kind."""
    for top in ("samples", "sweeps"):
        for channel in CHANNELS:
            (root / top / channel).mkdir(parents=True)
    count = 0
    for _, channel, _, _, path in frames(int(SAMPLES * scale), int(FILES * scale)):
        handle = os.open(root / path, os.O_CREAT | os.O_WRONLY, 0o644)
        os.ftruncate(handle, 34_720 * 20 if channel == "LIDAR_TOP" else 150_000)
        os.close(handle)
        count += 1
    (root / "maps").mkdir()
    (root / "maps/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return count


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak of memory in MiB."""
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command}: exit {process.returncode}\n{said.decode()[-3000:]}")
    return time.perf_counter() - before, usage.ru_maxrss / 1024


def main() -> None:
    """Make the tree, measure in turn, print the ratio, remove the tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    root = options.folder / "nuscenes"
    if not root.exists():
        start = time.perf_counter()
        make_tables(root, options.scale)
        count = make_files(root, options.scale)
        print(f"made {count} files in {time.perf_counter() - start:.0f} s")
    tables = sorted(str(path) for path in (root / "v1.0-trainval").glob("*.json"))
    size = sum(Path(path).stat().st_size for path in tables)
    print(f"tables: {size / 1e9:.2f} GB")
    parse = "import json,sys\nfor path in sys.argv[1:]:\n    with open(path) as file: json.load(file)"
    walk = ["find", str(root), "-type", "f", "-fprint", "/dev/null"]
    check = [sys.executable, "-m", "builder", "data", "check", "all-sensors", str(root), "--json"]
    recipes = options.folder / "recipes"
    make_recipe(recipes)
    check[3:3] = ["--recipes", str(recipes)]
    ratios = []
    for turn in range(options.rounds):
        find, _ = timed(walk)
        python, python_peak = timed([sys.executable, "-c", parse, *tables])
        ours, peak = timed(check)
        ratios.append(ours / (find + python))
        print(
            f"round {turn + 1}: find {find:.2f} s + json {python:.2f} s ({python_peak:.0f} MiB); "
            f"data check {ours:.2f} s ({peak:.0f} MiB); ratio {ratios[-1]:.2f}; load {os.getloadavg()[0]:.1f}"
        )
    print(f"median ratio {statistics.median(ratios):.2f}")
    if not options.keep:
        shutil.rmtree(root)
        shutil.rmtree(recipes)


def make_recipe(folder: Path) -> None:
    """Write a recipe that reads every sensor, keyframes and sweeps, and nothing else that the tree lacks."""
    shipped = Path(__file__).resolve().parents[1] / "builder/recipes/models/tpvformer.yaml"
    text = shipped.read_text(encoding="utf-8").replace("name: tpvformer\n", "name: all-sensors\n", 1)
    text = text.replace("    - {path: lidarseg}\n", "").replace(
        "sensors: [camera, lidar]", "sensors: [camera, lidar, radar]"
    )
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "models/all-sensors.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

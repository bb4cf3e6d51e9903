"""How long `drivebuild matrix` takes for hundreds of recipes, against rivals that say as much or less.

    python benchmarks/matrix.py [--models 500] [--rounds 5] [--whole] [--json FILE]

`matrix`: recipes of twenty lines on `debian-12-cpu`, with two locks of their own each, so four images each: two
variants on two architectures. `--whole` measures copies of the shipped recipes, too (350 lines, all their platforms),
in one round.
Rivals: `docker buildx bake --print` over the same images, which reads a bake file that is already made and neither
plans nor renders; and a process for each model (`drivebuild plan`), measured for one of them and multiplied.
`list` of the shipped recipes alone says how fast the machine is at the time. `since`: the recipes in a repository of
their own, one of them edited. Ratios are medians of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Case, Series, interleave, load, spread

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "builder/recipes"
SMALL = """name: {name}
title: Synthetic {number}
summary: One of many
licence: MIT
readme: {{source: driving-sdk-7.3.0, commit: {readme}, path: README.md}}
platform: debian-12-cpu
sources:
  {name}-source: {{type: git, url: "https://git.example.org/{name}.git", commit: "{number:040x}", licence: MIT}}
tree:
  source: {name}-source
  directory: Tree
  steps:
    - {{do: edit, file: setup.py, find: cuda, replace: npu, note: no cuda here}}
components:
  - {{name: mmcv, version: "1.7.2"}}
  - {{name: mmdet, version: "2.28.2"}}
requirements: {{packages: [numpy, tqdm]}}
data: {{dataset: nuscenes, root: data/nuscenes, entries: [{{path: samples}}, {{path: sweeps}}]}}
weights: []
jobs:
  - {{name: train, title: Train, command: [bash, train.sh], success: Epoch}}
results: []
"""
GIT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def write_small(folder: Path, count: int) -> None:
    """Write recipes of twenty lines, each with a lock for each architecture."""
    sources = (RECIPES / "sources.yaml").read_text()
    readme = re.search(r"driving-sdk-7\.3\.0:.*?commit: ([0-9a-f]{40})", sources, re.DOTALL)
    if readme is None:
        raise SystemExit("sources.yaml has no driving-sdk-7.3.0")
    locks = sorted((RECIPES / "locks/debian-12-cpu").glob("tpvformer.*.txt"))
    texts = {lock.name.removeprefix("tpvformer."): lock.read_text() for lock in locks}
    (folder / "models").mkdir(parents=True)
    (folder / "locks/debian-12-cpu").mkdir(parents=True)
    for number in range(count):
        name = f"synthetic-{number:03d}"
        text = SMALL.format(name=name, number=number, readme=readme[1])
        (folder / f"models/{name}.yaml").write_text(text)
        for end, lock in texts.items():
            (folder / f"locks/debian-12-cpu/{name}.{end}").write_text(lock)


def write_whole(folder: Path, count: int) -> None:
    """Write copies of the shipped recipes, with their locks."""
    shipped = sorted((RECIPES / "models").glob("*.yaml"))
    (folder / "models").mkdir(parents=True)
    for number in range(count):
        model = shipped[number % len(shipped)]
        name = f"{model.stem}-{number:03d}"
        text = re.sub(rf"^name: {model.stem}$", f"name: {name}", model.read_text(), flags=re.MULTILINE)
        (folder / f"models/{name}.yaml").write_text(text)
        for lock in (RECIPES / "locks").glob(f"*/{model.stem}.*.txt"):
            target = folder / "locks" / lock.parent.name / lock.name.replace(model.stem, name, 1)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(lock.read_text())


def drivebuild(recipes: Path, *words: str) -> tuple[str, ...]:
    """Return a command of drivebuild's over some recipes."""
    return (sys.executable, "-m", "builder", "--recipes", str(recipes), *words)


def in_git(folder: Path) -> None:
    """Commit a folder, and change one recipe after that."""
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "all")):
        subprocess.run(("git", *words), cwd=folder, env={**os.environ, **GIT}, check=True)
    edited = min((folder / "models").glob("*.yaml"))
    edited.write_text(edited.read_text().replace("Synthetic", "Edited"))


def measured(folder: Path, arguments: argparse.Namespace, environment: dict[str, str]) -> tuple[dict[str, Series], int]:
    """Return the series of all cases, and how many images there are."""
    small = folder / "small"
    write_small(small, arguments.models)
    in_git(small)
    bake = folder / "bake.json"
    text = subprocess.run(
        drivebuild(small, "matrix", "--format", "bake"), cwd=ROOT, env=environment, capture_output=True, check=True
    ).stdout
    bake.write_bytes(text)
    cases = [
        Case(name="matrix", command=drivebuild(small, "matrix", "--format", "json"), cwd=ROOT),
        Case(name="since", command=drivebuild(small, "matrix", "--since", "HEAD", "--format", "json"), cwd=ROOT),
        Case(name="bake --print", command=("docker", "buildx", "bake", "--file", str(bake), "--print"), cwd=ROOT),
        Case(name="list", command=(sys.executable, "-m", "builder", "list"), cwd=ROOT),
        Case(name="one plan", command=drivebuild(small, "plan", "synthetic-000", "--json"), cwd=ROOT),
    ]
    found = interleave(cases, rounds=arguments.rounds, env=environment)
    if arguments.whole:
        write_whole(folder / "whole", arguments.models)
        case = Case(name="whole", command=drivebuild(folder / "whole", "matrix", "--format", "json"), cwd=ROOT)
        found |= interleave([case], rounds=1, env=environment)
    images = len(json.loads(text)["target"])
    return found, images


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", action="store_true", help="copies of the shipped recipes, too")
    parser.add_argument("--json", type=Path, help="write the samples to this file")
    arguments = parser.parse_args()
    before = load()
    with tempfile.TemporaryDirectory(prefix="drivebuild-matrix-") as name:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": f"{name}/state"}
        found, images = measured(Path(name), arguments, environment)
    print(f"{arguments.models} recipes and the shipped ones, {images} targets; {before} before, {load()} after\n")
    print(f"{'case':14} {'wall s':>8} {'quartiles':>16} {'cpu s':>8} {'ratio':>7}")
    for case, series in found.items():
        low, middle, high = spread(series.wall)
        ratios = [own / rival for own, rival in zip(series.wall, found["matrix"].wall, strict=False)]
        ratio = f"{spread(ratios)[1]:7.2f}" if case not in ("matrix", "whole") else f"{'':7}"
        print(f"{case:14} {middle:8.2f} {low:7.2f} {high:8.2f} {spread(series.cpu)[1]:8.2f} {ratio}")
    one = spread(found["one plan"].wall)[1]
    print(f"\na process for each model, computed from {arguments.rounds} of one: {one * arguments.models:.0f} s")
    if arguments.json:
        data = {case: {"wall": series.wall, "cpu": series.cpu} for case, series in found.items()}
        arguments.json.write_text(json.dumps(data, indent=2) + "\n")


if __name__ == "__main__":
    main()

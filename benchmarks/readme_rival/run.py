"""drivebuild against a literal single-stage translation of the StreamPETR README, on the same CPU stack.

    python benchmarks/readme_rival/run.py [PHASE ...] [--json FILE] [--ca-bundle FILE]

Phases, in this order (all of them by default; the rival's first one takes a quarter of an hour on two cores):
    rival-cold       the README's Dockerfile without any cache
    rival-edit       again, after one line of the model's patch changed
    drivebuild-warm  the toy model in StreamPETR's place; what it shares is taken from the cache if it is there
    drivebuild-edit  again, after one line of the model's patch changed
    unchanged        `drivebuild image` of an unchanged image against `docker buildx build` of the same file, in turn
    size             both images
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT)]

from measure import Case, interleave, load, spread  # noqa: E402
from toy import MODEL, PLATFORM, requirements, write_recipes, write_sources  # noqa: E402

RIVAL = "drivebuild-bench/readme:streampetr"
PHASES = ("rival-cold", "rival-edit", "drivebuild-warm", "drivebuild-edit", "unchanged", "size")
_DONE = re.compile(r"^#(\d+) DONE ([\d.]+)s$", re.MULTILINE)
_STEP = re.compile(r"^#(\d+) \[(.+?)\] ?(.*)$", re.MULTILINE)


@dataclass(slots=True)
class Bench:
    """The folders of one run, and what was found."""

    folder: Path
    ca_bundle: str
    found: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write contexts and recipes."""
        write_recipes(self.folder / "recipes")
        context = self.folder / "rival"
        context.mkdir()
        for name, text in requirements().items():
            (context / name).write_text(text, encoding="utf-8")
        (context / "Dockerfile").write_bytes((HERE / "Dockerfile").read_bytes())
        self.sources("value_new = 0")

    def sources(self, line: str) -> None:
        """Write the model's sources for both sides, with a patch that adds `line`."""
        write_sources(self.folder, line)
        model = self.folder / "rival" / "model"
        tree, patches = write_sources(model, line)
        if not (model / "StreamPETR").exists():
            tree.rename(model / "StreamPETR")
        (patches / "model.patch").rename(model / "model.patch")

    def rival(self, *options: str) -> dict[str, Any]:
        """Build the README's image; return seconds and what ran."""
        command = ["docker", "buildx", "build", "--progress=plain", "--load", "--tag", RIVAL, *options]
        if self.ca_bundle:
            command += ["--secret", f"id=ca-bundle,src={self.ca_bundle}"]
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, str(self.folder / "rival")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-4000:]}")
        names = {number: f"{step} {text[:70]}" for number, step, text in _STEP.findall(done.stdout)}
        steps = {names.get(number, number): float(took) for number, took in _DONE.findall(done.stdout)}
        slow = {name: took for name, took in steps.items() if took >= 1}
        return {"seconds": round(seconds, 1), "steps": slow}

    def command(self) -> list[str]:
        """Return the `drivebuild image` command."""
        words = [sys.executable, "-m", "builder", "--recipes", str(self.folder / "recipes"), "image", MODEL]
        words += ["--platform", PLATFORM]
        words += ["--source", f"toy-tree={self.folder / 'tree'}", "--source", f"toy-patches={self.folder / 'patches'}"]
        return words + (["--ca-bundle", self.ca_bundle] if self.ca_bundle else [])

    def drivebuild(self) -> dict[str, Any]:
        """Build the toy model; return seconds and what the build record says."""
        begin = time.perf_counter()
        done = subprocess.run(
            [*self.command(), "--progress", "json"], env=self.env(), capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        record = json.loads(done.stdout.strip().splitlines()[-1])
        ran = {stage["name"]: round(stage["seconds"], 1) for stage in record["stages"] if stage["state"] == "done"}
        cached = [stage["name"] for stage in record["stages"] if stage["state"] == "cached"]
        return {"seconds": round(seconds, 1), "ran": ran, "cached": cached}

    def env(self) -> dict[str, str]:
        """Return the environment in which `python -m builder` finds the checkout."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def unchanged(self, rounds: int) -> dict[str, Any]:
        """Measure an unchanged image both ways, in turn."""
        context = self.folder / "empty"
        context.mkdir(exist_ok=True)
        recipes = ["--recipes", str(self.folder / "recipes")]
        made = subprocess.run(
            [sys.executable, "-m", "builder", *recipes, "render", MODEL, "--platform", PLATFORM],
            env=self.env(),
            capture_output=True,
            text=True,
            check=True,
        )
        (self.folder / "Dockerfile").write_text(made.stdout, encoding="utf-8")
        engine = ["docker", "buildx", "build", "--progress=rawjson", "--load", "--target", "image"]
        engine += ["--tag", f"drivebuild/{MODEL}:{PLATFORM}-stock", "--file", str(self.folder / "Dockerfile")]
        for name in ("tree", "patches"):
            engine += ["--build-context", f"src-toy-{name}={self.folder / name}"]
        if self.ca_bundle:
            engine += ["--secret", f"id=ca-bundle,src={self.ca_bundle}"]
        cases = [
            Case(name="docker buildx build", command=[*engine, str(context)]),
            Case(name="drivebuild image", command=self.command()),
        ]
        series = interleave(cases, rounds=rounds, env=self.env())
        plain, ours = series["docker buildx build"].wall, series["drivebuild image"].wall
        more = [two - one for one, two in zip(plain, ours, strict=True)]
        return {
            "docker buildx build": [round(value, 2) for value in spread(plain)],
            "drivebuild image": [round(value, 2) for value in spread(ours)],
            "more": [round(value, 2) for value in spread(more)],
            "median more": round(statistics.median(more), 2),
        }


def size(image: str) -> int:
    """Return an image's bytes, or 0 when it is not there."""
    command = ["docker", "image", "inspect", "--format", "{{.Size}}", image]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else 0


def main() -> int:
    """Run the phases that were asked for and print what each found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("phases", nargs="*", metavar="PHASE")
    parser.add_argument("--rounds", type=int, default=9, help="of the phase `unchanged`")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--ca-bundle", default=os.environ.get("SSL_CERT_FILE", ""), metavar="FILE")
    arguments = parser.parse_args()
    chosen = arguments.phases or PHASES
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.ca_bundle)
        bench.prepare()
        for phase in chosen:
            before = load()
            bench.found[phase] = {"before": before, **run(bench, phase, arguments.rounds), "after": load()}
            print(f"{phase}: {json.dumps(bench.found[phase], indent=1)}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(bench.found, indent=1), encoding="utf-8")
    return 0


def run(bench: Bench, phase: str, rounds: int) -> dict[str, Any]:
    """Run one phase."""
    if phase == "rival-cold":
        return bench.rival("--no-cache")
    if phase == "drivebuild-warm":
        return bench.drivebuild()
    if phase in ("rival-edit", "drivebuild-edit"):
        bench.sources(f"value_new = {time.time_ns()}")
        return bench.rival() if phase == "rival-edit" else bench.drivebuild()
    if phase == "unchanged":
        return bench.unchanged(rounds)
    if phase == "size":
        ours, theirs = size(f"drivebuild/{MODEL}:{PLATFORM}-stock"), size(RIVAL)
        return {"drivebuild": ours, "rival": theirs, "rival / drivebuild": round(theirs / ours, 2) if ours else None}
    raise SystemExit(f"no such phase: {phase}; one of {', '.join(PHASES)}")


if __name__ == "__main__":
    sys.exit(main())

"""A cold build of one model against the compile times that nothing can avoid.

    python benchmarks/cold_build.py [MODEL] [--platform P] [--variant V] [--until STAGE] [--prune] [--json FILE]

Every stage runs again (`--no-cache`). What compiles are the stages of Python and of wheels from source; of the ways
through the graph of stages, the one on which they take longest is the unavoidable part. The figure is the whole build
without the export to the engine, over that part: what else there is (packages, downloads, byte code) either runs beside
it or is the overhead. `--prune` drops BuildKit's cache mounts first (uv's files and ccache's objects): without it a
compile may be warm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from measure import load

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from builder.engine.record import BuildRecord, read_record  # noqa: E402
from builder.engine.state import EXPORT  # noqa: E402
from builder.plan.make import make_plan  # noqa: E402
from builder.plan.stage import Plan  # noqa: E402
from builder.source.catalog import read_catalog  # noqa: E402

TARGET = 1.15
COMPILES = ("python", "wheel", "tcmalloc", "pytorch", "torch-npu")
"""Templates whose stages are mostly a compiler's work."""


def longest(plan: Plan, weights: Mapping[str, float], target: str) -> tuple[float, tuple[str, ...]]:
    """Return the heaviest way to `target` through the graph of stages: its weight, and the stages on it that weigh."""
    found: dict[str, tuple[float, tuple[str, ...]]] = {}
    for name in plan.closure(target):
        before = max((found[need] for need in plan.needs(name)), default=(0.0, ()))
        own = weights.get(name, 0.0)
        found[name] = (before[0] + own, (*before[1], name) if own else before[1])
    return found[target]


def build(words: list[str], tag: str) -> BuildRecord:
    """Build without any cached stage and return the record of it."""
    command = [sys.executable, "-m", "builder", "image", *words, "--no-cache", "--tag", tag, "--progress", "plain"]
    if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit("the build failed; its message is above")
    record = read_record(tag)
    if record is None:
        raise SystemExit(f"there is no record of {tag}")
    return record


def figures(plan: Plan, record: BuildRecord, target: str) -> dict[str, object]:
    """Return the build's seconds, the unavoidable ones, and their ratio."""
    seconds = {stage.name: stage.seconds for stage in record.stages}
    compiles = {stage.name: seconds.get(stage.name, 0.0) for stage in plan.stages if stage.template in COMPILES}
    unavoidable, way = longest(plan, compiles, target)
    critical, _ = longest(plan, {name: value for name, value in seconds.items() if name != EXPORT}, target)
    whole = record.seconds - seconds.get(EXPORT, 0.0)
    return {
        "seconds": round(whole, 1),
        "export_seconds": round(seconds.get(EXPORT, 0.0), 1),
        "critical_path_seconds": round(critical, 1),
        "unavoidable_seconds": round(unavoidable, 1),
        "unavoidable": {name: round(seconds[name], 1) for name in way},
        "all_compiles": {name: round(value, 1) for name, value in compiles.items() if value >= 1},
        "ratio": round(whole / unavoidable, 3) if unavoidable else None,
        "target": TARGET,
        "stages": {name: round(value, 1) for name, value in seconds.items() if value >= 1},
    }


def main() -> None:
    """Build, compute, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="streampetr")
    parser.add_argument("--platform", default="debian-12-cpu")
    parser.add_argument("--variant", default="stock")
    parser.add_argument("--until", default="env")
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.prune:
        prune = ("docker", "buildx", "prune", "--force", "--filter", "type=exec.cachemount")
        subprocess.run(prune, check=True, capture_output=True)
    plan = make_plan(read_catalog(()), given.model, platform=given.platform, variant=given.variant)
    words = [given.model, "--platform", given.platform, "--variant", given.variant, "--until", given.until]
    before = load()
    found = figures(plan, build(words, "drivebuild-benchmark/cold:1"), given.until)
    found |= {"load": [before, load()], "build": " ".join(words)}
    text = json.dumps(found, indent=1)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

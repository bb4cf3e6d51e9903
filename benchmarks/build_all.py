"""`build-all` over all models: stage-seconds against as many builds apart, and what a rerun with nothing changed costs.

    python benchmarks/build_all.py [--platform P] [--until STAGE] [--rounds N] [--build] [--no-bake] [-- WORD...]

The first `build-all` finds everything there, or with `--build` does what is still to do. Its sums are of whole stages,
timed when they last ran: once each, and once for each image that has them, which is what builds would take of which
none knows of the others. Then, in turn and in alternating order, reruns: `build-all`; one `drivebuild image` after the
other; and `docker buildx bake` of the rendered files. WORDs go to `build-all` and `image`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import Case, interleave, load, spread

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from builder.plan.choose import choose  # noqa: E402
from builder.plan.stage import Plan  # noqa: E402
from builder.render.bake import target_name  # noqa: E402
from builder.source.catalog import read_catalog  # noqa: E402

RERUN = 10.0
SHARE = 1 / 3


def drivebuild(options: argparse.Namespace, command: str, *words: str) -> tuple[str, ...]:
    """Return a command of drivebuild's with what all of them are given."""
    before = ("--config", options.config) if options.config else ()
    given = ("--platform", options.platform, "--until", options.until, *options.words)
    return (sys.executable, "-m", "builder", *before, command, *words, *given)


def build_all(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the command that builds all."""
    pins = (word for pin in options.pin for word in ("--pin", pin))
    return (*drivebuild(options, "build-all"), *pins, "--json")


def image_by_image(options: argparse.Namespace, plans: tuple[Plan, ...]) -> tuple[str, ...]:
    """Return one command for the same images, one after the other."""
    lines = []
    for plan in plans:
        pins = [f"--pin={name}={commit}" for name, commit in plan.pinned.items()]
        lines.append(shlex.join(drivebuild(options, "image", plan.model.name, "--variant", plan.variant, *pins)))
    return ("sh", "-ec", "\n".join(lines))


def bake(options: argparse.Namespace, plans: tuple[Plan, ...]) -> tuple[str, ...]:
    """Return the command that builds the same images with bake, under names of their own."""
    targets = [target_name(plan) for plan in plans]
    words = ["--file", "dockerfiles/docker-bake.json", "--set", f"*.target={options.until}", "--load"]
    for target in targets:
        words += ["--set", f"{target}.tags=drivebuild-bench/{target}:1"]
    return ("docker", "buildx", "bake", *words, *targets)


def first_run(options: argparse.Namespace) -> dict[str, Any]:
    """Return the report of the first `build-all`, and print its sums."""
    done = subprocess.run(build_all(options), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    report = dict(json.loads(done.stdout.splitlines()[-1]))
    totals = report["totals"]
    if totals["stages_run"] and not options.build:
        raise SystemExit(f"{totals['stages_run']} stages ran: not everything was there; --build allows it")
    print(f"{len(report['images'])} images in {report['seconds']:.1f} s; stages run: {totals['stages_run']}")
    together = f"{totals['stages_different']} different stages, {totals['together_seconds']:.0f} s"
    apart = f"apart from each other {totals['stages_needed']}, {totals['apart_seconds']:.0f} s"
    print(f"{together}; {apart}: {totals['ratio']:.3f} (at most {SHARE:.3f}); never timed: {totals['never_timed']}")
    return report


def main() -> None:
    """Measure, print, and end with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--platform", default="debian-12-cpu")
    parser.add_argument("--until", default="env")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--build", action="store_true", help="let the first build-all run stages")
    parser.add_argument("--no-bake", action="store_true", help="leave bake out, as where sources come from a store")
    parser.add_argument("--config", default="", help="drivebuild's configuration file")
    parser.add_argument("--pin", action="append", default=[], metavar="NAME=COMMIT")
    parser.add_argument("--json", type=Path)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    pinned = dict(pin.split("=", 1) for pin in options.pin)
    plans = choose(read_catalog(), platforms=(options.platform,), pinned=pinned).plans
    before, report = load(), first_run(options)
    cases = [
        Case(name="build-all", command=build_all(options), cwd=ROOT),
        Case(name="image, one by one", command=image_by_image(options, plans), cwd=ROOT),
    ]
    if not options.no_bake:
        cases.append(Case(name="bake", command=bake(options, plans), cwd=ROOT))
    try:
        found = interleave(cases, rounds=options.rounds)
    finally:
        for plan in plans if not options.no_bake else ():
            words = ("docker", "image", "rm", f"drivebuild-bench/{target_name(plan)}:1")
            subprocess.run(words, capture_output=True, check=False)
    for name, series in found.items():
        low, middle, high = spread(series.wall)
        print(f"rerun, {name:18} {middle:6.2f} s ({low:.2f} to {high:.2f})")
    print(f"load {before} to {load()}")
    if options.json:
        walls = {name: series.wall for name, series in found.items()}
        options.json.write_text(json.dumps({"report": report, "reruns": walls}, indent=1) + "\n")
    slow = statistics.median(found["build-all"].wall) >= RERUN
    sys.exit(1 if slow or report["totals"]["ratio"] > SHARE else 0)


if __name__ == "__main__":
    main()

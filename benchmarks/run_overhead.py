"""What `drivebuild run` adds before a job's own first moment, against plain `docker compose run` of the same service.

    python benchmarks/run_overhead.py [--rounds N] [--json FILE]

The job is a stand-in that prints the time and ends; its image is made first, from the base of debian-12-cpu. Both ways
start one in each round, in alternating order, and the figure is the time from the start of the command to the time that
the job prints. It needs the engine and nothing else.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import load, spread

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import jobs  # noqa: E402
from support.locks import with_locks  # noqa: E402

from builder.source.catalog import read_catalog  # noqa: E402

TARGET = 1.0
"""Seconds."""
JOB = "stamp"
FIRST = re.compile(r"first moment: ([0-9.]+)")


def seconds(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Return the time from a command's start to its job's first moment."""
    began = time.time()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = FIRST.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return float(found[1]) - began


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the times of both ways, round by round."""
    jobs.JOBS.clear()
    jobs.JOBS.update({"good": "true", JOB: "echo first moment: $(date +%s.%N); echo 'mAP: 0.4'"})
    tag = f"drivebuild/toyrun:{jobs.CPU}-stock"
    with tempfile.TemporaryDirectory(prefix="run-overhead-") as name:
        folder = Path(name)
        site = jobs.Site(folder / "site", jobs.write_recipes(folder / "recipes"))
        site.folder.mkdir()
        context = jobs.write_context(with_locks(read_catalog((site.recipes,))), folder / "context", jobs.CPU)
        subprocess.run(("docker", "build", "--quiet", "--tag", tag, str(context)), check=True, capture_output=True)
        mine = site.command("run", "toyrun", JOB, "--platform", jobs.CPU)
        seconds(mine, site.folder, site.environment())
        (run,) = site.all_runs()
        # The project of that run, without its name: compose starts the same service.
        project = json.loads((run / "compose.json").read_text())
        project["services"][f"toyrun-{JOB}"]["environment"].pop("DRIVEBUILD_RUN")
        (site.folder / "compose.json").write_text(json.dumps(project))
        plain = ["docker", "compose", "--file", "compose.json", "run", "--rm", "--no-TTY", f"toyrun-{JOB}"]
        ways = {"drivebuild run": mine, "docker compose run": plain}
        found: dict[str, list[float]] = {way: [] for way in ways}
        try:
            for number in range(rounds):
                for way in sorted(ways, reverse=bool(number % 2)):
                    found[way].append(seconds(ways[way], site.folder, site.environment()))
        finally:
            subprocess.run(
                ("docker", "compose", "--file", "compose.json", "down", "--volumes"), cwd=site.folder, check=False
            )
            subprocess.run(("docker", "image", "rm", "--force", tag), capture_output=True, check=False)
        return found


def main() -> int:
    """Measure, print, and return 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    before = load()
    found = measure(words.rounds)
    print(f"{words.rounds} rounds, {before} before")
    for way, values in found.items():
        low, middle, high = spread(values)
        print(f"{way:20} {middle:.2f} s ({low:.2f} to {high:.2f})")
    added = [mine - plain for mine, plain in zip(*found.values(), strict=True)]
    middle = statistics.median(added)
    print(f"added: {middle:.2f} s ({min(added):.2f} to {max(added):.2f}), at most {TARGET} s is wanted")
    if words.json:
        words.json.write_text(json.dumps({**found, "added": added}, indent=1) + "\n")
    return int(middle > TARGET)


if __name__ == "__main__":
    raise SystemExit(main())

"""Runs one program of pyperformance once, in processes of its own, and prints seconds by figure as one line of JSON.

    python_sample.py SITE CLOCK SECONDS FOLDER [OPTION...]

SITE is the folder of the packages, CLOCK `wall` or `processor`, SECONDS how long the program may take; FOLDER and
OPTION are pyperformance's. It runs in an image, with any Python from 3.8 on; standard library only.

pyperf starts a process that finds out how many loops take 0.1 s, then one that warms up once and measures three
times. The figure is the median of the three; what differs between processes is for the caller's rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

KEPT = "PYTHONPATH,PYTHONHASHSEED,PYTHONDONTWRITEBYTECODE,HOME,LC_ALL"


def environment(site: str, clock: str, scratch: str) -> dict[str, str]:
    """Return all that the program may know: nothing of the image's own settings."""
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [os.path.join(here, "processor_clock")] if clock == "processor" else []
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([*paths, site]),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": scratch,
        "LC_ALL": "C.UTF-8",
    }


def values(path: str) -> dict[str, float]:
    """Return the median seconds of each figure in pyperf's file."""
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    found: dict[str, float] = {}
    for bench in data["benchmarks"]:
        name = (bench.get("metadata") or {}).get("name") or data["metadata"]["name"]
        seconds = sorted(value for run in bench["runs"] for value in run.get("values", ()))
        found[name] = seconds[len(seconds) // 2]
    return found


def sample(site: str, clock: str, limit: float, folder: str, options: list[str]) -> dict[str, Any]:
    """Run the program; return its figures, or what went wrong."""
    script = os.path.join(site, "pyperformance", "data-files", "benchmarks", "bm_" + folder, "run_benchmark.py")
    if not os.path.isfile(script):
        return {"error": "not in this version of pyperformance", "absent": True}
    with tempfile.TemporaryDirectory() as scratch:
        target = os.path.join(scratch, "result.json")
        command = [sys.executable, script, *options, "--processes=1", "--values=3", "--warmups=1", "--quiet"]
        command += ["--output=" + target, "--inherit-environ=" + KEPT]
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=environment(site, clock, scratch),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return {"error": "took longer than %d s" % limit}
        if done.returncode != 0:
            return {"error": "exit code %d: %s" % (done.returncode, done.stdout.decode("utf-8", "replace")[-400:])}
        return {"values": values(target), "version": sys.version.split()[0]}


if __name__ == "__main__":
    print(json.dumps(sample(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4], sys.argv[5:])))

"""Compare Python interpreters with a fixed set of small programs.

    python benchmarks/python_speed.py [--rounds N] [--cpu N] [--json FILE] NAME=PATH NAME=PATH ...

The first interpreter is the reference. Every round starts every interpreter once, in turn and in alternating direction
(A B C, C B A, ...), so that a slow phase of the machine hits all of them. A benchmark's figure is the least of all
rounds: noise only ever adds time. The table shows reference / other (above 1.00: faster than the reference), and the
geometric mean of these ratios, from the least and from the median of the rounds: where the two differ is noise.

Only the standard library is used; --cpu pins the children. Interpreters run with -I -S: nothing of a site directory is
measured. Every interpreter must compute the same values.

The interpreter of a stage of a rendered Dockerfile, on the host (the host needs the libraries it links to):

    docker buildx build --load --target python-lto --tag py:lto - < dockerfiles/streampetr/debian-12-cpu-lto/Dockerfile
    docker create --name py py:lto && docker cp py:/opt/python lto && docker rm py
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Table = dict[str, dict[str, float]]


def bench_fib(n: int = 25) -> int:
    """Calls."""

    def fib(i: int) -> int:
        return i if i < 2 else fib(i - 1) + fib(i - 2)

    return fib(n)


def bench_nbody(steps: int = 6000) -> float:
    """Floats and lists."""
    bodies = [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 39.47],
        [4.84, -1.16, -0.10, 0.606, 2.81, -0.02, 0.037],
        [8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.011],
    ]
    pairs = [(a, b) for i, a in enumerate(bodies) for b in bodies[i + 1 :]]
    dt = 0.01
    for _ in range(steps):
        for a, b in pairs:
            dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
            mag = dt / ((dx * dx + dy * dy + dz * dz) ** 1.5)
            am, bm = a[6] * mag, b[6] * mag
            a[3] -= dx * bm
            a[4] -= dy * bm
            a[5] -= dz * bm
            b[3] += dx * am
            b[4] += dy * am
            b[5] += dz * am
        for r in bodies:
            r[0] += dt * r[3]
            r[1] += dt * r[4]
            r[2] += dt * r[5]
    return bodies[0][0]


def bench_spectral(n: int = 70) -> float:
    """Generators and floats."""

    def a(i: int, j: int) -> float:
        return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1)

    u = [1.0] * n
    for _ in range(3):
        v = [sum(a(i, j) * u[j] for j in range(n)) for i in range(n)]
        u = [sum(a(j, i) * v[j] for j in range(n)) for i in range(n)]
    return u[0]


def bench_richards(n: int = 14000) -> int:
    """Methods and attributes."""

    class Task:
        __slots__ = ("count", "name", "queue", "state")

        def __init__(self, name: str) -> None:
            self.name, self.state, self.count = name, 0, 0
            self.queue: list[int] = []

        def run(self, other: Task) -> Task:
            if self.queue:
                self.count += self.queue.pop()
            else:
                self.state ^= 1
            if self.state:
                other.put(self.count & 7)
            return other

        def put(self, item: int) -> None:
            self.queue.append(item)

    class Special(Task):
        __slots__ = ()

        def put(self, item: int) -> None:
            super().put(item + 1)

    tasks = [Task("a"), Special("b"), Task("c"), Special("d")]
    for i in range(4, 4 + n):
        for k in range(4):
            tasks[k].run(tasks[(k + i) & 3])
    return sum(t.count for t in tasks)


def bench_dict(n: int = 4000) -> int:
    """Dictionaries."""
    total = 0
    for r in range(12):
        d: dict[Any, int] = {}
        for i in range(n):
            d[f"k{i % 997}"] = i
            d[i] = r
        total += sum(v for k, v in d.items() if k in d)
    return total


def bench_strings(n: int = 5000) -> int:
    """Formatting and splitting."""
    out = []
    for i in range(n):
        s = f"frame {i:06d} speed={i / 3:.3f} {'lane' if i & 1 else 'road'}"
        parts = s.replace("=", " ").split()
        out.append("-".join(p.upper() for p in parts).encode("utf-8").decode("utf-8"))
    return len("".join(out))


def bench_sort(n: int = 9000) -> float:
    """Sorting of mixed keys."""
    state = 42
    data: list[tuple[int, float, str]] = []
    for _ in range(n):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        data.append((state % 1000, state / 7.0, str(state)))
    data.sort()
    data.sort(key=lambda t: t[2])
    return min(t[1] for t in data)


def bench_bigint(n: int = 900) -> int:
    """Long integers."""
    a, b = 0, 1
    for _ in range(n * 4):
        a, b = b, a + b
    x = 1
    for i in range(1, n):
        x = x * i
    return len(str(x)) + b % 1000003


def bench_generators(n: int = 2500) -> int:
    """Nested generators."""

    def tree(lo: int, hi: int) -> Iterator[int]:
        if lo < hi:
            mid = (lo + hi) // 2
            yield from tree(lo, mid)
            yield mid
            yield from tree(mid + 1, hi)

    return sum(sum(tree(0, n)) for _ in range(3))


def bench_exceptions(n: int = 60000) -> int:
    """Raising and catching."""
    hits = 0
    d: dict[int, int] = {}
    for i in range(n):
        try:
            if i % 3:
                d[i]
            hits += 1
        except KeyError:
            hits -= 1
    return hits


def bench_re(n: int = 120) -> int:
    """Regular expressions."""
    import re

    text = "ts=12.500 cam_front obj=[car 3.4 -1.2] score=0.87; " * 20
    pattern = re.compile(r"(\w+)=([-\d.]+)")
    word = re.compile(r"\[(\w+)((?: -?\d+\.\d+)+)\]")
    total = 0
    for _ in range(n):
        total += len(pattern.findall(text)) + sum(len(m.group(2)) for m in word.finditer(text))
    return total


def bench_json(n: int = 70) -> int:
    """JSON both ways."""
    import json

    doc = {
        "frames": [
            {"id": i, "pose": [i * 0.5, i * 0.25, -1.0], "tags": ["a", "b"], "ok": True, "n": None} for i in range(60)
        ]
    }
    s = ""
    for _ in range(n):
        s = json.dumps(doc)
        doc = json.loads(s)
    return len(s)


def bench_pickle(n: int = 150) -> int:
    """Pickle both ways."""
    import pickle

    doc = [{"id": i, "pose": (i * 0.5, i * 0.25), "name": f"frame{i}"} for i in range(150)]
    s = b""
    for _ in range(n):
        s = pickle.dumps(doc, 4)
        doc = pickle.loads(s)
    return len(s)


def bench_struct_math(n: int = 25000) -> float:
    """struct and math."""
    import math
    import struct

    p, u = struct.Struct("<dI").pack, struct.Struct("<dI").unpack
    total = 0.0
    for i in range(n):
        x, j = u(p(math.sin(i) + math.sqrt(i), i))
        total += math.hypot(x, j)
    return total


BENCHES: Mapping[str, Callable[[], Any]] = {
    name.removeprefix("bench_"): item for name, item in list(globals().items()) if name.startswith("bench_")
}


def worker() -> None:
    """Run every benchmark in this interpreter and print seconds and a digest of the value."""
    result = {}
    for name, function in BENCHES.items():
        function()  # warms up and specialises
        best = []
        value = None
        for _ in range(3):
            begin = time.perf_counter()
            value = function()
            best.append(time.perf_counter() - begin)
        result[name] = [min(best), repr(value)[:12]]
    print(json.dumps({"version": sys.version, "result": result}))


def start_up(path: str, env: Mapping[str, str]) -> float:
    """Return the seconds that an interpreter takes to start and import two modules: the least of five times."""
    found = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([path, "-I", "-S", "-c", "import json, re"], check=True, env=env)
        found.append(time.perf_counter() - begin)
    return min(found)


def measure(pythons: Mapping[str, str], rounds: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, str]]:
    """Return seconds by interpreter and benchmark, and each interpreter's version.

    Raises:
        SystemExit: when two interpreters compute different values.
    """
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    runs: dict[str, dict[str, list[float]]] = {name: {} for name in pythons}
    versions: dict[str, str] = {}
    values: dict[str, str] = {}
    this = str(Path(__file__).resolve())
    for number in range(rounds):
        for name in pythons if number % 2 == 0 else list(reversed(list(pythons))):
            command = [pythons[name], "-I", "-S", "-B", this, "--worker"]
            data = json.loads(subprocess.run(command, check=True, env=env, stdout=subprocess.PIPE).stdout)
            versions[name] = data["version"]
            for bench, (seconds, value) in data["result"].items():
                runs[name].setdefault(bench, []).append(seconds)
                if values.setdefault(bench, value) != value:
                    raise SystemExit(f"{name}: {bench} computed {value}, not {values[bench]}")
            runs[name].setdefault("start-up", []).append(start_up(pythons[name], env))
    return runs, versions


def geometric_mean(table: Table, reference: str, name: str) -> float:
    """Return how many times faster than the reference an interpreter is, over all benchmarks."""
    return math.exp(statistics.fmean(math.log(table[reference][b] / table[name][b]) for b in table[reference]))


def main() -> None:
    """Measure and print the table."""
    if sys.argv[1:] == ["--worker"]:
        worker()
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cpu", type=int, help="pin to this processor")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("interpreters", nargs="+", metavar="NAME=PATH")
    arguments = parser.parse_args()
    pythons = dict(text.split("=", 1) for text in arguments.interpreters)
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})
    print(f"load {' '.join(f'{item:.1f}' for item in os.getloadavg())}, {arguments.rounds} rounds")
    runs, versions = measure(pythons, arguments.rounds)
    names = list(pythons)
    reference = names[0]
    best: Table = {name: {bench: min(found) for bench, found in runs[name].items()} for name in names}
    middle: Table = {name: {bench: statistics.median(found) for bench, found in runs[name].items()} for name in names}
    width = max(len(bench) for bench in best[reference]) + 1
    print(f"{'':{width}}{reference + ' ms':>14}" + "".join(f"{name:>14}" for name in names[1:]))
    for bench, seconds in best[reference].items():
        ratios = "".join(f"{seconds / best[name][bench]:14.3f}" for name in names[1:])
        print(f"{bench:{width}}{seconds * 1e3:14.2f}{ratios}")
    means: dict[str, dict[str, float]] = {}
    for word, table in (("least", best), ("median", middle)):
        means[word] = {name: geometric_mean(table, reference, name) for name in names}
        figures = "".join(f"{means[word][name]:14.3f}" for name in names[1:])
        print(f"geometric mean of the {word + 's':8}{'':{max(0, width - 16)}}{figures}")
    print(f"load {' '.join(f'{item:.1f}' for item in os.getloadavg())}")
    if arguments.json:
        data = {"interpreters": pythons, "versions": versions, "means": means, "runs": runs}
        arguments.json.write_text(json.dumps(data, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

"""How long 5, 10, 50 and 500 images take to build, and how many bytes they send, with shared stages and without.

    python benchmarks/scaling_simulation.py [--workers 1,4,16] [--rate MB/S] [--json]
    python benchmarks/scaling_simulation.py --record FILE     # this machine's own timings, as scaling_stages.json

The graph of stages is the product's own: plans of the five models, their stages' digests. Only the clock is invented.
A stage takes what it was measured to take (scaling_stages.json); a worker is a machine like the measured one and runs
one stage at a time; it pulls what a stage needs and it does not have, and pushes what the stage made, at `--rate`. Free
workers take the stage with the longest way to the end behind it.

What is assumed beyond that:
- 5 images are the five models, `stock`; 10 with `lto`; 50 these on five platforms; 500 the same of fifty models.
- Platforms share nothing with each other, and each costs what `debian-12-cpu` costs. Further models are like one of the
  five: what only that model has, each of them has for itself.
- "Apart" is a Dockerfile for each image that shares nothing with any other: every stage runs for every image, on one
  worker, and every layer is an image's own.
- Bytes are those of files before compression; zstd and gzip take much the same part of both sides.
- No stage fails, nothing else is running, and nothing was there before.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from builder.plan.make import make_plan  # noqa: E402
from builder.recipe.types import Catalog  # noqa: E402
from builder.render.keys import Digester  # noqa: E402
from builder.source.catalog import read_catalog, read_templates  # noqa: E402

TABLE = Path(__file__).with_name("scaling_stages.json")
PLATFORM = "debian-12-cpu"
FIVE = ("flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer")
SIZES = {
    5: (5, 1, ("stock",)),
    10: (5, 1, ("stock", "lto")),
    50: (5, 5, ("stock", "lto")),
    500: (50, 5, ("stock", "lto")),
}
"""Images: models, platforms, variants."""
RATE = 125.0
"""Megabytes in a second: a link of 1 Gbit/s."""


@dataclass(frozen=True, slots=True)
class Task:
    """A stage that runs once."""

    key: str
    name: str
    seconds: float
    megabytes: float
    """That it adds to images; nothing for what only compiles."""
    needs: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """What a number of images costs."""

    tasks: int
    work: float
    """Seconds of all stages together."""
    megabytes: float
    wall: dict[int, float] = field(default_factory=dict)
    """Seconds by number of workers."""
    longest: float = 0.0
    """Seconds of the longest way through the graph: no number of workers is faster."""


# --- the graph ------------------------------------------------------------------------------------


def plans(
    catalog: Catalog, templates: Mapping[str, str], variants: Iterable[str], table: Mapping[str, Any]
) -> Iterator[tuple[str, str, tuple[Task, ...]]]:
    """Yield (model, variant, its stages in order) of the five models."""
    digester = Digester(templates)
    for model in FIVE:
        for variant in variants:
            plan = make_plan(catalog, model, platform=PLATFORM, variant=variant)
            digests = digester.digests(plan)
            stages = plan.closure("image")
            yield (
                model,
                variant,
                tuple(
                    Task(
                        digests[name],
                        name,
                        seconds_of(name, model, table),
                        megabytes_of(name, model, variant, table),
                        tuple(digests[need] for need in plan.needs(name) if need in digests),
                    )
                    for name in stages
                ),
            )


def seconds_of(stage: str, model: str, table: Mapping[str, Any]) -> float:
    """Return what a stage was measured to take.

    Raises:
        SystemExit: when nobody has measured it.
    """
    seconds = table["seconds"]
    # Sources, and packages that the index has as archives: one entry of the table for all of a kind.
    kind = f"{stage.partition('-')[0]}-*"
    for name in (f"{stage}:{model}", stage, kind):
        if name in seconds:
            return float(seconds[name])
    # Stages of files that a template writes, and of requirements: no process runs in them.
    if stage in table["nothing_runs"] or stage.startswith("packages-"):
        return 0.0
    raise SystemExit(f"{TABLE.name} does not say how long {stage} takes")


def megabytes_of(stage: str, model: str, variant: str, table: Mapping[str, Any]) -> float:
    """Return the bytes of the layers that a stage adds to an image of the variant."""
    sizes = table["megabytes"]
    if stage == "env":
        return float(table["images_megabytes"][model]) - sum(float(sizes[name]) for name in table["below_env"])
    # Wheels are compiled against the stock Python, which is in no other variant's images.
    if stage == "python-stock" and variant != "stock":
        return 0.0
    return float(sizes.get(stage, 0.0))


def images(size: int, made: Iterable[tuple[str, str, tuple[Task, ...]]]) -> Iterator[tuple[str, tuple[Task, ...]]]:
    """Yield the name and the tasks of every image: the five models' own, and those that are like them."""
    models, platforms, variants = SIZES[size]
    known = list(made)
    users: defaultdict[str, set[str]] = defaultdict(set)
    for model, _, tasks in known:
        for task in tasks:
            users[task.key].add(model)
    for platform in range(platforms):
        for number in range(models):
            like = FIVE[number % len(FIVE)]
            for model, variant, tasks in known:
                if model != like or variant not in variants:
                    continue

                def key(digest: str, number: int = number, platform: int = platform) -> str:
                    own = f"m{number // len(FIVE)}" if len(users[digest]) == 1 else ""
                    return f"p{platform}{own}:{digest}"

                renamed = tuple(
                    Task(key(task.key), task.name, task.seconds, task.megabytes, tuple(map(key, task.needs)))
                    for task in tasks
                )
                yield f"{model}-{number}-{platform}-{variant}", renamed


def together(found: Iterable[tuple[str, tuple[Task, ...]]]) -> dict[str, Task]:
    """Return every stage once, as BuildKit and a registry's cache have it."""
    once: dict[str, Task] = {}
    for _, tasks in found:
        for task in tasks:
            if task.key not in once or once[task.key].megabytes < task.megabytes:
                once[task.key] = task
    return once


def apart(found: Iterable[tuple[str, tuple[Task, ...]]]) -> dict[str, Task]:
    """Return one task for each image: all of its stages, one after the other, and all of its layers."""
    return {
        name: Task(name, name, sum(task.seconds for task in tasks), sum(task.megabytes for task in tasks), ())
        for name, tasks in found
    }


# --- the clock ------------------------------------------------------------------------------------


def ways(tasks: Mapping[str, Task]) -> dict[str, float]:
    """Return by key the seconds from a task's beginning to the end of all that needs it."""
    users: defaultdict[str, list[str]] = defaultdict(list)
    for task in tasks.values():
        for need in task.needs:
            users[need].append(task.key)
    found: dict[str, float] = {}
    # What needs a task comes behind it, so backwards everything behind is known. Orders of images differ: go by needs.
    for key in reversed(ordered(tasks)):
        found[key] = tasks[key].seconds + max((found[user] for user in users[key]), default=0.0)
    return found


def ordered(tasks: Mapping[str, Task]) -> list[str]:
    """Return the keys so that each stands behind its needs."""
    done: dict[str, None] = {}
    for start in tasks:
        trail = [(start, iter(tasks[start].needs))]
        while trail and start not in done:
            key, needs = trail[-1]
            need = next((each for each in needs if each not in done), None)
            if need is None:
                done[key] = None
                trail.pop()
            else:
                trail.append((need, iter(tasks[need].needs)))
    return list(done)


def wall(tasks: Mapping[str, Task], workers: int, rate: float) -> float:
    """Return the second in which the last task ends, on a number of workers."""
    behind = ways(tasks)
    waiting = {key: set(task.needs) for key, task in tasks.items()}
    users: defaultdict[str, list[str]] = defaultdict(list)
    for task in tasks.values():
        for need in task.needs:
            users[need].append(task.key)
    ready = [(-behind[key], key) for key, needs in waiting.items() if not needs]
    heapq.heapify(ready)
    free = list(range(workers))
    has: list[set[str]] = [set() for _ in range(workers)]
    running: list[tuple[float, int, str]] = []
    now = 0.0
    while ready or running:
        while ready and free:
            _, key = heapq.heappop(ready)
            below = closure(tasks, key)

            def missing(worker: int, below: frozenset[str] = below) -> float:
                return sum(tasks[each].megabytes for each in below - has[worker])

            worker = min(free, key=lambda each: (missing(each), each))
            free.remove(worker)
            taken = (missing(worker) + tasks[key].megabytes) / rate + tasks[key].seconds
            has[worker] |= below | {key}
            heapq.heappush(running, (now + taken, worker, key))
        now, worker, key = heapq.heappop(running)
        free.append(worker)
        for user in users[key]:
            waiting[user].discard(key)
            if not waiting[user]:
                heapq.heappush(ready, (-behind[user], user))
    return now


_CLOSURES: dict[int, dict[str, frozenset[str]]] = {}


def closure(tasks: Mapping[str, Task], key: str) -> frozenset[str]:
    """Return all that a task stands on and that has bytes."""
    known = _CLOSURES.setdefault(id(tasks), {})
    if key not in known:
        found: set[str] = set()
        for need in tasks[key].needs:
            found |= closure(tasks, need)
            if tasks[need].megabytes:
                found.add(need)
        known[key] = frozenset(found)
    return known[key]


def outcome(tasks: Mapping[str, Task], workers: Iterable[int], rate: float) -> Outcome:
    found = Outcome(
        len(tasks),
        sum(task.seconds for task in tasks.values()),
        sum(task.megabytes for task in tasks.values()),
        longest=max(ways(tasks).values()),
    )
    found.wall = {count: wall(tasks, count, rate) for count in workers}
    return found


def simulate(table: Mapping[str, Any], workers: Iterable[int], rate: float) -> dict[int, dict[str, Outcome]]:
    """Return by number of images what they cost apart and together."""
    catalog, templates, counts = read_catalog(), read_templates(), tuple(workers)
    made = list(plans(catalog, templates, ("stock", "lto"), table))
    found = {}
    for size in SIZES:
        several = list(images(size, made))
        assert len(several) == size, (len(several), size)
        found[size] = {
            "apart": outcome(apart(several), counts, rate),
            "together": outcome(together(several), counts, rate),
        }
    return found


# --- the command ----------------------------------------------------------------------------------


def hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def rows(found: Mapping[int, Mapping[str, Outcome]], workers: Iterable[int]) -> Iterator[str]:
    """Yield the lines of the table in docs/scaling.md."""
    counts = tuple(workers)
    yield (
        "| images | | stages run | work | GB sent | "
        + " | ".join(f"{count} worker{'s' if count > 1 else ''}" for count in counts)
        + " |"
    )
    yield "| --- | --- | --- | --- | --- |" + " --- |" * len(counts)
    for size, both in found.items():
        for name, each in both.items():
            walls = " | ".join(hours(each.wall[count]) for count in counts)
            stages = str(each.tasks) if name == "together" else "all of each"
            yield f"| {size} | {name} | {stages} | {hours(each.work)} | {each.megabytes / 1000:.0f} | {walls} |"
        one, all_ = both["apart"], both["together"]
        ratios = " | ".join(f"{one.wall[count] / all_.wall[count]:.1f}" for count in counts)
        work, sent = one.work / all_.work, one.megabytes / all_.megabytes
        yield f"| | apart / together | | {work:.1f} | {sent:.1f} | {ratios} |"


def record(path: Path) -> None:
    """Write this machine's timings in the form of scaling_stages.json, sizes as they are there."""
    from builder.engine.timings import read_timings

    table = json.loads(TABLE.read_text(encoding="utf-8"))
    timings, catalog, templates = read_timings(), read_catalog(), read_templates()
    digester = Digester(templates)
    found: dict[str, float] = {}
    for model in FIVE:
        for variant in ("stock", "lto"):
            plan = make_plan(catalog, model, platform=PLATFORM, variant=variant)
            for name, digest in digester.digests(plan).items():
                seconds = timings.by_digest.get((digest, "x86_64"))
                if seconds is not None:
                    shared = name not in ("env", "tree", "image", "manifest") and not name.startswith("overlay-")
                    found[name if shared else f"{name}:{model}"] = round(seconds, 1)
    path.write_text(json.dumps({**table, "seconds": dict(sorted(found.items()))}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,4,16", help="numbers of machines")
    parser.add_argument("--rate", type=float, default=RATE, help="megabytes in a second between worker and registry")
    parser.add_argument("--table", type=Path, default=TABLE, help="another table of measured stages")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", type=Path, help="write this machine's timings there and end")
    arguments = parser.parse_args()
    if arguments.record:
        record(arguments.record)
        return
    workers = tuple(int(word) for word in arguments.workers.split(","))
    found = simulate(json.loads(arguments.table.read_text(encoding="utf-8")), workers, arguments.rate)
    if arguments.json:
        print(json.dumps({size: {name: vars_of(each) for name, each in both.items()} for size, both in found.items()}))
        return
    print("\n".join(rows(found, workers)))
    print(f"\nlongest way through the graph: {hours(found[500]['together'].longest)}; {arguments.rate:.0f} MB/s")


def vars_of(each: Outcome) -> dict[str, Any]:
    return {name: getattr(each, name) for name in ("tasks", "work", "megabytes", "wall", "longest")}


if __name__ == "__main__":
    main()

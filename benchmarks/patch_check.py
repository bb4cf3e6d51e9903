"""How long `patch check` takes, against checking every tree out to disk and applying its patches one by one.

    python benchmarks/patch_check.py --store DIR [--pin NAME=COMMIT]... [--rounds N] [--folder DIR] [--json FILE]

Run it with the Python of the environment to measure. The store has the sources of all models, on their own platforms
and the CPU ones. The rival is a shell script that git and tar do all the work for: each tree is checked out (its packs
are unpacked and indexed before the clock starts) or unpacked, and `git apply` is run for each patch. It does less than
`patch check`: no copies, no edits, no blob ids. Every round runs every command once, in alternating direction.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import Case, interleave, load

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SECONDS = 1.0
"""The most that a check of five models may take, with the indexes of its packs there."""
OURS, COLD, RIVAL = "patch check", "patch check, no indexes yet", "checkout and git apply"


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--pin", action="append", default=[], metavar="NAME=COMMIT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where trees are checked out; a temporary folder by default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        script = folder / "rival.sh"
        script.write_text("\n".join(rival(arguments.store, dict(pin.split("=") for pin in arguments.pin), folder)))
        cases = commands(arguments, folder, script)
        env = {**os.environ, "XDG_CACHE_HOME": str(folder / "warm"), "PYTHONPATH": str(ROOT)}
        series = interleave(cases, rounds=arguments.rounds, env=env)
    report = {
        "load": load(),
        "seconds": {name: sorted(found.wall) for name, found in series.items()},
        "cpu": {name: sorted(found.cpu) for name, found in series.items()},
    }
    for name, found in series.items():
        wall, cpu = sorted(found.wall), sorted(found.cpu)
        print(f"{name:30} best {wall[0]:.3f} s, median {wall[len(wall) // 2]:.3f} s; processor {cpu[0]:.3f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    best = min(series[OURS].wall)
    print(f"target: best below {SECONDS} s: {'met' if best < SECONDS else 'MISSED'}")
    return 0 if best < SECONDS else 1


def commands(arguments: argparse.Namespace, folder: Path, script: Path) -> list[Case]:
    """Return what is measured."""
    pins = [word for pin in arguments.pin for word in ("--pin", pin)]
    check = [sys.executable, "-m", "builder", "patch", "check", "--store", str(arguments.store.resolve()), *pins]
    cold = ["env", f"XDG_CACHE_HOME={folder / 'cold'}", *check]
    trees = folder / "trees"
    return [
        Case(name=OURS, command=check),
        Case(name=COLD, command=cold, prepare=lambda: shutil.rmtree(folder / "cold", ignore_errors=True)),
        Case(name=RIVAL, command=["bash", "-e", str(script)], prepare=lambda: shutil.rmtree(trees, ignore_errors=True)),
    ]


def rival(store: Path, pins: dict[str, str], folder: Path) -> Iterator[str]:
    """Yield the lines of the rival's script; its repositories are made here, outside the clock."""
    from builder.recipe.types import GitSource, Patch
    from builder.source.catalog import read_catalog
    from builder.source.patchplan import plan_checks, sources_of, store_key
    from builder.source.store import Store

    catalog = read_catalog()
    checks = plan_checks(catalog, tuple(catalog.models), pinned=pins)
    opened, places = Store(store), {}
    for name in sources_of(checks.targets):
        source = checks.sources[name]
        entry = opened.find(store_key(source))
        if entry is None:
            raise SystemExit(f"{name} is not in the store")
        places[name] = content = opened.object(entry).resolve()
        if isinstance(source, GitSource):
            places[name] = folder / f"{name}.git"
            subprocess.run(["git", "init", "--quiet", "--bare", str(places[name])], check=True)
            command = ["git", "index-pack", "--stdin"]
            subprocess.run(command, cwd=places[name], stdin=content.open("rb"), stdout=subprocess.DEVNULL, check=True)

    def laid(name: str, target: Path) -> Iterator[str]:
        source, place, there = checks.sources[name], shlex.quote(str(places[name])), shlex.quote(str(target))
        yield f"mkdir -p {there}"
        if isinstance(source, GitSource):
            git = f"GIT_INDEX_FILE={there}.index git --git-dir={place} --work-tree={there}"
            # A mirror may lack pictures that no patch touches.
            yield f"{git} read-tree {source.commit}; {git} checkout-index --all --force || true"
        else:
            yield f"tar -xf {place} --strip-components=1 -C {there}"

    for name in {step.source for target in checks.targets for step in target.steps if isinstance(step, Patch)}:
        yield from laid(name, folder / "trees" / name)
    for number, target in enumerate(checks.targets):
        tree = folder / "trees" / f"target-{number}"
        yield from laid(target.origin, tree)
        for step in target.steps:
            if isinstance(step, Patch):
                file = folder / "trees" / step.source / step.path
                yield f"cd {shlex.quote(str(tree))}; GIT_CEILING_DIRECTORIES=/ GIT_DIR=/dev/null git apply \
--ignore-whitespace --whitespace=nowarn {shlex.quote(str(file))}"


if __name__ == "__main__":
    sys.exit(main())

"""How long `drivebuild` takes to say something, against a two-command Typer program in the same environment.

    python benchmarks/cli_startup.py [--rounds N] [--json FILE] [--script PATH]

Run it with the Python of the environment to measure. Every round starts every command once, in alternating direction;
each ratio is the median of the rounds' own ratios. The rival's `--help` is measured twice per round: what the second
differs from the first is the machine's noise.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measure import Case, Series, interleave, load, spread

ROOT = Path(__file__).resolve().parent.parent
RIVAL = '''"""Two commands: the least a Typer program can be."""
import typer

app = typer.Typer({settings})


@app.command()
def hello(name: str) -> None:
    """Say hello."""


@app.command()
def bye(name: str) -> None:
    """Say goodbye."""


if __name__ == "__main__":
    app()
'''
LEAN = "rich_markup_mode=None, pretty_exceptions_enable=False"
BAD_RECIPE = """name: toy
titel: Toy
summary: a recipe with three mistakes
licence: MIT
platform: 8.10
sources: []
"""
# (name, what it is divided by, the most the ratio may be)
TARGETS = (
    ("help", "typer help", 1.2),
    ("list", "typer help", 2.0),
    ("plan", "typer help", 2.0),
    ("bad recipe", "typer help", 2.0),
    ("bad recipe", "help", 2.0),
)
SECONDS = (("render, nothing there", 0.5), ("render, unchanged", 0.5), ("render --check", 0.5))


def cases(folder: Path, command: Sequence[str]) -> list[Case]:
    """Write the rivals and the bad recipe into `folder` and return what is measured."""
    (folder / "two.py").write_text(RIVAL.format(settings=""), encoding="utf-8")
    (folder / "lean.py").write_text(RIVAL.format(settings=LEAN), encoding="utf-8")
    bad = folder / "recipes" / "models"
    bad.mkdir(parents=True)
    (bad / "toy.yaml").write_text(BAD_RECIPE, encoding="utf-8")
    rendered, fresh = folder / "rendered", folder / "fresh"
    count = iter(range(1_000_000))

    def empty() -> None:
        # A new folder each time; removing the old one is left to the end.
        fresh.rename(folder / f"fresh-{next(count)}") if fresh.exists() else None

    rival = [sys.executable, str(folder / "two.py")]
    lean = [sys.executable, str(folder / "lean.py")]
    return [
        Case(name="python -c pass", command=[sys.executable, "-c", "pass"]),
        Case(name="typer help", command=[*rival, "--help"]),
        Case(name="typer help again", command=[*rival, "--help"]),
        Case(name="lean typer help", command=[*lean, "--help"]),
        Case(name="typer runs hello", command=[*rival, "hello", "you"]),
        Case(name="help", command=[*command, "--help"]),
        Case(name="list", command=[*command, "list"]),
        Case(name="plan", command=[*command, "plan", "streampetr", "--lto"]),
        Case(name="bad recipe", command=[*command, "--recipes", str(bad.parent), "list"], exit_code=3),
        Case(name="render, nothing there", command=[*command, "render", "-o", str(fresh)], prepare=empty),
        Case(name="render, unchanged", command=[*command, "render", "-o", str(rendered)]),
        Case(name="render --check", command=[*command, "render", "--check", "-o", str(rendered)]),
    ]


def ratio(found: dict[str, Series], name: str, other: str, *, cpu: bool = False) -> tuple[float, float, float]:
    """Return quartiles of the rounds' own ratios of `name` to `other`."""
    mine, theirs = (found[name].cpu, found[other].cpu) if cpu else (found[name].wall, found[other].wall)
    return spread([one / two for one, two in zip(mine, theirs, strict=True)])


def report(found: dict[str, Series]) -> bool:
    """Print the tables; return whether every target is met."""
    print(f"{'command':22} {'wall ms: q1':>12} {'median':>7} {'q3':>6}   {'cpu ms':>7}")
    for name, series in found.items():
        low, middle, high = (value * 1e3 for value in spread(series.wall))
        print(f"{name:22} {low:12.0f} {middle:7.0f} {high:6.0f}   {spread(series.cpu)[1] * 1e3:7.0f}")
    low, middle, high = ratio(found, "typer help again", "typer help")
    print(f"\nnoise: the same command against itself {middle:.2f} ({low:.2f} to {high:.2f})\n")
    print(f"{'ratio':32} {'q1':>5} {'median':>7} {'q3':>5}   {'cpu':>5}   target")
    sound = True
    for name, other, most in TARGETS:
        low, middle, high = ratio(found, name, other)
        processor = ratio(found, name, other, cpu=True)[1]
        met = middle <= most
        sound &= met
        verdict = "met" if met else "MISSED"
        print(
            f"{name + ' / ' + other:32} {low:5.2f} {middle:7.2f} {high:5.2f}   {processor:5.2f}   <= {most} {verdict}"
        )
    for name in ("help", "list", "plan", "bad recipe"):
        for other in ("lean typer help", "typer runs hello"):
            low, middle, high = ratio(found, name, other)
            processor = ratio(found, name, other, cpu=True)[1]
            print(f"{name + ' / ' + other:32} {low:5.2f} {middle:7.2f} {high:5.2f}   {processor:5.2f}   (no target)")
    for name, most in SECONDS:
        middle = spread(found[name].wall)[1]
        met = middle < most
        sound &= met
        print(f"{name:32} {middle:13.3f} s            < {most} s {'met' if met else 'MISSED'}")
    return sound


def main() -> int:
    """Measure and report; exit code 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--script", metavar="PATH", help="the console script; default: `python -m builder`")
    arguments = parser.parse_args()
    command = [arguments.script] if arguments.script else [sys.executable, "-m", "builder"]
    env = {key: value for key, value in os.environ.items() if key != "DRIVEBUILD_RECIPES"}
    if not arguments.script:
        env["PYTHONPATH"] = str(ROOT)
    print(f"{' '.join(command)}, Python {sys.version.split()[0]}, {arguments.rounds} rounds, {load()}")
    with tempfile.TemporaryDirectory() as folder:
        found = interleave(cases(Path(folder), command), rounds=arguments.rounds, env=env)
    sound = report(found)
    print(f"\n{load()}")
    if arguments.json:
        data = {name: {"wall": series.wall, "cpu": series.cpu} for name, series in found.items()}
        arguments.json.write_text(json.dumps(data, indent=1), encoding="utf-8")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())

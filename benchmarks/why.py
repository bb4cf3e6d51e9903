"""How long `drivebuild why` takes: nothing changed, a pin, a flag that reaches ten images; against `drivebuild plan`.

    python benchmarks/why.py [--rounds N] [--script PATH]

The records are those of builds that never were (tests/support/records.py): five models, two variants each. Nothing is
built, and the engine is asked only for the ids of images.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from measure import Case, interleave, load, spread

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.records import BASE, built  # noqa: E402

from builder import paths  # noqa: E402
from builder.engine.host import connect  # noqa: E402
from builder.plan.make import make_plan  # noqa: E402
from builder.source.catalog import read_catalog, read_templates  # noqa: E402

PLATFORM = "debian-12-cpu"
TARGET = 0.5
"""Seconds that `why` may take for an image of which nothing changed."""


def main() -> int:
    """Measure, print a table, and return 1 where the target is missed in processor time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--script", default="drivebuild")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drivebuild-why-") as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"], os.environ["XDG_CACHE_HOME"] = str(folder / "state"), str(folder / "cache")
        _records()
        recipes = _edited(folder / "recipes")
        words = ("streampetr", "--platform", PLATFORM)
        cases = (
            Case(name="plan", command=(chosen.script, "plan", *words)),
            Case(name="why, nothing changed", command=(chosen.script, "why", *words)),
            Case(name="why, a pin", command=(chosen.script, "why", *words, "--pin", f"streampetr={'a' * 40}")),
            Case(name="why, a flag of mmcv", command=(chosen.script, "--recipes", str(recipes), "why", *words)),
        )
        print(f"load {load()}")
        found = interleave(cases, rounds=chosen.rounds)
    for case, series in found.items():
        cells = (
            f"{middle:.3f} s ({low:.3f} to {high:.3f})" for low, middle, high in map(spread, (series.wall, series.cpu))
        )
        print("| " + " | ".join((case, *cells)) + " |")
    return int(spread(found["why, nothing changed"].cpu)[1] > TARGET)


def _records() -> None:
    catalog, templates = read_catalog(), read_templates()
    # The engine's own, or it would be a change.
    base = connect().image(BASE)
    for model in catalog.models:
        for variant in ("stock", "lto"):
            plan = make_plan(catalog, model, platform=PLATFORM, variant=variant)
            built(plan, templates, seconds=dict.fromkeys(plan.names, 10.0), base=base)


def _edited(folder: Path) -> Path:
    text = (paths.RECIPES / "components/mmcv.yaml").read_text()
    target = folder / "components/mmcv.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(text.replace('MMCV_WITH_OPS: "1"', 'MMCV_WITH_OPS: "0"'))
    return folder


if __name__ == "__main__":
    sys.exit(main())

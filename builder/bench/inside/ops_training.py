"""Calls every operator of mmcv that has a CPU kernel, for a profile: sizes, seeds and data are not those of the suite.

    python ops_training.py [--seconds N]

Round after round with other seeds, until N seconds (default 60) are over and every operator ran at least once. Exit 0
only when all of them ran and their results were right in shape and finite; then the process ends by itself, so that an
instrumented library writes its profile. The files operators*.py lie beside this one. Needs torch and mmcv.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

SEED = 7_000_000
"""Far from the seeds that are measured."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Call mmcv's CPU operators, to train a profile.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, but one round at least; 60 by default")
    wanted = parser.parse_args().seconds
    import torch
    from operators import AbsentError, check
    from operators_mmcv import WORKS

    torch.set_num_threads(1)
    start, rounds, calls = time.monotonic(), 0, 0
    failed: dict[str, str] = {}
    while not failed and (rounds == 0 or time.monotonic() - start < wanted):
        for number, (name, (make, _, trained)) in enumerate(sorted(WORKS.items())):
            if rounds and time.monotonic() - start >= wanted:
                break
            for sizes in trained:
                try:
                    run, shapes = make(SEED + 1000 * rounds + 10 * number, **sizes)
                    check(run(), shapes)
                    calls += 1
                except (AbsentError, AssertionError, RuntimeError, TypeError) as error:
                    failed[name] = "%s: %s" % (type(error).__name__, error)
        rounds += 1
    said = {"operators": len(WORKS) - len(failed), "calls": calls, "rounds": rounds, "failed": failed}
    print(json.dumps({**said, "seconds": round(time.monotonic() - start, 1)}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

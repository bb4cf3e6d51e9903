"""Measures one operator of mmcv or torch on the CPU, and prints its seconds as one line of JSON.

    ops_sample.py SITE CLOCK SECONDS KIND NAME

KIND is `mmcv` or `torch`, NAME a work in operators_mmcv.py or operators_torch.py; SITE is not used. One thread;
inputs are the same in every process. The first and the last result must have the right shape and be finite.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from typing import Any

from sampling import answer, clock_of, figure

SEED = 20240229
WARM = 2


def measure(clock: str, kind: str, name: str) -> dict[str, Any]:
    """Return the figure, or why there is none."""
    try:
        import torch
        from operators import AbsentError, check
    except ImportError as error:
        return {"error": str(error), "absent": True}
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.manual_seed(SEED)
    make, sizes, _ = importlib.import_module("operators_" + kind).WORKS[name]
    try:
        run, shapes = make(SEED, **sizes)
    except AbsentError as error:
        return {"error": str(error), "absent": True}
    for _ in range(WARM):
        check(run(), shapes)
    seconds = figure(run, clock_of(clock))
    check(run(), shapes)
    version = "%s, torch %s" % (sys.version.split()[0], torch.__version__)
    return {"values": {name: seconds}, "version": version}


if __name__ == "__main__":
    answer(partial(measure, sys.argv[2], sys.argv[4], sys.argv[5]), int(sys.argv[3]))

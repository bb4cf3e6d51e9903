"""Prints which layers of an image have a path, as one line of JSON: for each path the numbers of layers, lowest first.

    where.py NUMBER PATH...

Runs in the image like walk.py, with its layers in /layers/0 to /layers/NUMBER-1. What says that a path is removed is a
device of the numbers 0 and 0 (overlay file systems), and counts as nothing.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Dict, List


def holds(path: str) -> bool:
    """Return whether a layer has something at a path; links on the way are not followed, they may lead anywhere."""
    above = os.path.dirname(path)
    while above != "/":
        if os.path.islink(above):
            return False
        above = os.path.dirname(above)
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return not (stat.S_ISCHR(info.st_mode) and info.st_rdev == 0)


def main(number: int, paths: List[str]) -> None:
    found: Dict[str, List[int]] = {}
    for path in paths:
        found[path] = [each for each in range(number) if holds("/layers/%d%s" % (each, path))]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

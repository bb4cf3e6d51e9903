"""Counts an image's files, layer by layer, and prints what they are as one line of JSON.

    walk.py NUMBER

Runs in the image, as root, without network. The folders /layers/0 to /layers/NUMBER-1, the lowest first, are what each
layer holds; without them (0) the image is counted as one. A file belongs to the Python distribution whose RECORD names
it, byte code to that of its source, anything else to its folder. It is hidden when an upper layer has the same path or
the image does not show it any more: stored, and of no use. A file with several names counts once, as the engine counts.
"""

from __future__ import annotations

import csv
import glob
import json
import os
import re
import stat
import sys
from typing import Dict, Iterator, List, Set, Tuple

ENVIRONMENTS = ("/opt/venv", "/opt/python", "/usr", "/usr/local")
OUT = ("proc", "sys", "dev", "layers")
# Of PyTorch's own libraries; what it asks for besides comes as distributions of their own.
CUDA = re.compile(r"/torch/lib/[^/]*(cuda|cudnn|nvrtc|cublas|nccl|caffe2_nvrtc)[^/]*$")
BYTE_CODE = re.compile(r"(.*/)__pycache__/([^/]+)\.cpython-\d+(\.opt-\d)?\.pyc$")
Totals = Dict[str, List[int]]
"""By group: files, bytes, bytes of byte code, bytes that are hidden."""


def distributions() -> dict[str, str]:
    """Return the distribution of each file that a RECORD names."""
    owners: dict[str, str] = {}
    for environment in ENVIRONMENTS:
        for record in sorted(glob.glob(environment + "/lib/python3*/*-packages/*.dist-info/RECORD")):
            folder = os.path.dirname(record)
            name = os.path.basename(folder)[: -len(".dist-info")].rpartition("-")[0]
            site = os.path.dirname(folder)
            # The interpreter's own pip is the interpreter's; Debian's is the system's.
            if environment == "/opt/venv":
                with open(record, newline="", encoding="utf-8", errors="surrogateescape") as file:
                    for row in csv.reader(file):
                        if row:
                            owners[os.path.normpath(os.path.join(site, row[0]))] = name
    return owners


def group_of(path: str, owners: dict[str, str]) -> tuple[str, bool]:
    """Return what a path is of, and whether it is byte code."""
    match = BYTE_CODE.match(path)
    owner = owners.get(path) or (match and owners.get(match.group(1) + match.group(2) + ".py"))
    if owner:
        return ("cuda:" if CUDA.search(path) else "dist:") + owner, bool(match)
    parts = path.split("/")
    # What a folder is of is said by its first names; CANN's and what drivebuild adds lie deeper.
    depth = 5 if parts[1:3] == ["usr", "local"] else 4 if parts[1] in ("opt", "workspace") else 3
    return "path:" + "/".join(parts[:depth] if len(parts) > depth else parts), bool(match)


def files(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each file below a folder by its path in the image, and each removal that a layer notes down."""
    for top, folders, names in os.walk(root):
        inside = "/" + os.path.relpath(top, root).lstrip(".").lstrip("/")
        if inside == "/" and root == "/":
            folders[:] = [name for name in folders if name not in OUT]
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        for name in names + links:
            yield os.path.join(inside, name), os.lstat(os.path.join(top, name))


def count(root: str, owners: dict[str, str], above: set[str]) -> Totals:
    """Return what one layer holds by group; `above` are the paths of the layers over it, to which its own are added."""
    totals: Totals = {}
    seen: Set[Tuple[int, int]] = set()
    own: list[str] = []
    for path, info in files(root):
        own.append(path)
        # Links and what says that a path is removed (a device) take no bytes of a layer.
        if (info.st_dev, info.st_ino) in seen or not stat.S_ISREG(info.st_mode):
            continue
        seen.add((info.st_dev, info.st_ino))
        group, compiled = group_of(path, owners)
        entry = totals.setdefault(group, [0, 0, 0, 0])
        entry[0] += 1
        entry[1] += info.st_size
        entry[2] += info.st_size if compiled else 0
        entry[3] += info.st_size if path in above or not os.path.lexists(path) else 0
    above.update(own)
    return totals


def main(number: int) -> None:
    owners = distributions()
    above: set[str] = set()
    roots = ["/layers/%d" % each for each in range(number)] or ["/"]
    found = [count(root, owners, above) for root in reversed(roots)]
    json.dump(found[::-1], sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))

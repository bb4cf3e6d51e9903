"""Prints the files of each layer of an image as one line of JSON: a list for each layer, the lowest first.

    names.py NUMBER

Runs in the image like walk.py, with its layers in /layers/0 to /layers/NUMBER-1. Only regular files that are not empty:
a link, a folder or the mark of a removal has no content that anybody could read.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Iterator


def names(root: str) -> Iterator[str]:
    """Yield the path of each file that has a content, as an archive of the layer would have it."""
    for top, _, files in os.walk(root):
        for name in files:
            path = os.path.join(top, name)
            info = os.lstat(path)
            if stat.S_ISREG(info.st_mode) and info.st_size:
                # A name need not be text; what stands for its odd bytes is enough to find it.
                yield os.fsencode(os.path.relpath(path, root)).decode("utf-8", "replace")


def main(number: int) -> None:
    json.dump([sorted(names("/layers/%d" % each)) for each in range(number)], sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))

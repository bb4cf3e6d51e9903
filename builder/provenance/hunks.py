"""The hunks of a git patch for one file. Pure."""

from __future__ import annotations

import re

__all__ = ["heading_of", "hunks_of"]

_HEADER = re.compile(r"^diff --git a/(\S+) b/(\S+)$")
_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def hunks_of(patch: bytes, path: str) -> tuple[str, ...]:
    """Return the text of each hunk for a file, by its name before or after.

    >>> hunks_of(b"diff --git a/x b/x\\n--- a/x\\n+++ b/x\\n@@ -1 +1 @@\\n-a\\n+b\\n", "x")
    ('@@ -1 +1 @@\\n-a\\n+b',)
    """
    found: list[list[str]] = []
    current: list[str] | None = None
    of_file, old, new = False, 0, 0
    for line in patch.decode("utf-8", "replace").split("\n"):
        if old > 0 or new > 0:
            # By the counts of the header: the lines may look like anything.
            old -= line[:1] in ("-", " ", "")
            new -= line[:1] in ("+", " ", "")
            if current is not None:
                current.append(line.rstrip("\r"))
            continue
        header, hunk = _HEADER.match(line.rstrip("\r")), _HUNK.match(line)
        if header is not None:
            of_file = path in header.groups()
        elif hunk is not None:
            old, new = (1 if number is None else int(number) for number in hunk.groups())
            current = [line.rstrip("\r")] if of_file else None
            found += [current] if current is not None else []
    return tuple("\n".join(lines) for lines in found)


def heading_of(hunk: str) -> str:
    """Return where a hunk is, with the number of lines that it adds and removes."""
    head, _, body = hunk.partition("\n")
    lines = body.split("\n")
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return f"{head}  +{added} -{removed}"

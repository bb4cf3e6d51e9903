"""Lines that mean trouble in any model's log. Whoever decides on a job's status can use the same list. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from builder.training.records import FailureKind

__all__ = ["SIGNALS", "TRACEBACK", "confirms"]

TRACEBACK = "Traceback (most recent call last)"
SIGNALS: Mapping[str, FailureKind] = {
    TRACEBACK: "traceback",
    # torch_npu says "NPU out of memory. Tried to allocate ...", torch "CUDA out of memory", the kernel likewise.
    "out of memory": "out-of-memory",
    "Cannot allocate memory": "out-of-memory",
    "No space left on device": "no-space",
    # CANN's inner errors are EI9999, EE9999, EZ9999 and so on; torch_npu's begin with ERR and five digits.
    "9999: ": "npu",
    "ERR00100": "npu",
}
_CANN = re.compile(r"\bE[A-Z]9999: ")


def confirms(text: str, line: str) -> bool:
    """Return whether a line that holds a signal's text means it: '9999: ' also ends ordinary numbers."""
    return text != "9999: " or _CANN.search(line) is not None

"""What of a machine matters for times. It reads a root folder, `/` by default, so that tests show it made-up ones."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["describe"]

GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"


def describe(root: Path = Path("/")) -> Mapping[str, str]:
    """Return facts by what they are called; what the kernel does not say is not among them."""
    name = re.search(r"^(?:model name|Model|CPU part)\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    found = {
        "processor": name[1].strip() if name else "",
        "processors": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory[1]) / (1 << 20):.1f} GiB" if memory else "",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": _read(root / GOVERNOR).strip(),
    }
    return {key: value for key, value in found.items() if value}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

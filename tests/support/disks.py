"""Small disks that are really full sooner or later: tmpfs, which only root can mount."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk of `size` (bytes, or with k or m) at `folder`; without the right to mount, skip the test loudly."""
    folder.mkdir(exist_ok=True)
    command = ("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"SKIPPED LOUDLY: no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        # An engine that has ended a moment ago may still let go of it.
        subprocess.run(("umount", "--lazy", str(folder)), check=True)

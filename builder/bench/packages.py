"""The packages of a suite: installed once on this machine from a lock, and mounted read-only into containers."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from builder.errors import SourceError

__all__ = ["packages_folder", "packages_key"]

Run = Callable[[tuple[str, ...]], tuple[int, str]]
"""Runs a command and returns its exit status and its output."""


def packages_key(lock: Path, architecture: str) -> str:
    """Return what the folder of a lock's packages is called: equal locks share it, another lock gets another."""
    return f"{lock.stem}-{architecture}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"


def packages_folder(
    lock: Path, series: str, architecture: str, *, uv: Callable[[], str], cache: Path, run: Run
) -> Path:
    """Return the folder of a lock's packages, after installing them where they are not there yet.

    Wheels only: nothing of a package runs on this machine. uv checks every hash. A folder of this name is whole: it is
    filled under another one and renamed.

    Raises:
        SourceError: when uv is missing or fails, or the folder cannot be written.
    """
    target = cache / packages_key(lock, architecture)
    if target.is_dir():
        return target
    program = uv()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=cache))
    except OSError as error:
        raise SourceError(f"{cache}: {error.strerror}", hint="XDG_CACHE_HOME names another place") from error
    try:
        status, said = run(_command(program, lock, series, architecture, scratch))
        if status != 0:
            hint = "the package index is needed once; what is installed serves later runs without it"
            raise SourceError(f"the suite's packages cannot be installed\n{said.strip()[-2000:]}", hint=hint)
        # Containers run as other users, too.
        scratch.chmod(0o755)
        if not target.is_dir():
            scratch.rename(target)
    except OSError as error:
        if not target.is_dir():
            raise SourceError(f"{target}: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _command(uv: str, lock: Path, series: str, architecture: str, target: Path) -> tuple[str, ...]:
    return (
        uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:",
        "--python-version", series, "--python-platform", f"{architecture}-manylinux_2_28", "--no-python-downloads",
        "--target", str(target), "--requirement", str(lock),
    )  # fmt: skip

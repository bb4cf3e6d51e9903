"""uv's lock, cut down to the files one interpreter on one machine can install. No index URL leaves this module."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from builder.errors import SourceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["cut"]

# Every system drivebuild knows has at least this glibc (openEuler 22.03 has 2.34), and uv resolves for no newer one.
_GLIBC = (2, 28)
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}


def cut(lock: str, *, python: str, architecture: str) -> tuple[str, ...]:
    """Return `name==version --hash=sha256:…` for each package of a `pylock.toml`, in the order of names.

    What has no wheel that fits is followed by ` # ` and the name of its source archive.

    Args:
        lock: what `uv pip compile --format pylock.toml` wrote.
        python: X.Y of a CPython.
        architecture: as `platform_machine` spells it.

    Raises:
        SourceError: for a package of which no file can be installed there.
    """
    ranks, environment = _ranks(python, architecture), _environment(python, architecture)
    lines: dict[str, str] = {}
    for package in tomllib.loads(lock).get("packages", []):
        if "marker" in package and not Marker(package["marker"]).evaluate(environment):
            continue
        name = canonicalize_name(package["name"])
        digest, archive = _best_file(package, ranks, f"Python {python} on {architecture}")
        lines[name] = f"{name}=={package['version']} --hash=sha256:{digest}" + (f" # {archive}" if archive else "")
    return tuple(lines[name] for name in sorted(lines))


def _platforms(architecture: str) -> Iterator[str]:
    """Yield the platform tags that fit, the best first."""
    major, newest = _GLIBC
    for minor in range(newest, _OLDEST[architecture] - 1, -1):
        yield f"manylinux_{major}_{minor}_{architecture}"
        if (major, minor) in _LEGACY:
            yield f"{_LEGACY[major, minor]}_{architecture}"
    yield f"linux_{architecture}"


def _ranks(python: str, architecture: str) -> dict[Tag, int]:
    major, minor = (int(part) for part in python.split("."))
    interpreter = f"cp{major}{minor}"
    platforms = list(_platforms(architecture))
    ordered = [
        *cpython_tags((major, minor), [interpreter], platforms),
        *compatible_tags((major, minor), interpreter, platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}


def _environment(python: str, architecture: str) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": architecture,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def _file_name(entry: Mapping[str, Any]) -> str:
    name: str = entry.get("name") or (entry.get("url") or entry["path"]).rpartition("/")[2].partition("#")[0]
    return name.replace("%2B", "+")


def _best_file(package: Mapping[str, Any], ranks: Mapping[Tag, int], where: str) -> tuple[str, str]:
    """Return the sha256 of the wheel an installer would take, or of the sdist where none fits, and the sdist's name."""
    fitting: list[tuple[int, str]] = []
    for entry in package.get("wheels", []):
        tags = parse_wheel_filename(_file_name(entry))[3]
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if rank is not None:
            fitting.append((rank, entry["hashes"]["sha256"]))
    if fitting:
        return min(fitting)[1], ""
    if "sdist" in package:
        digest: str = package["sdist"]["hashes"]["sha256"]
        return digest, _file_name(package["sdist"])
    raise SourceError(f"{package['name']} {package.get('version', '')} has no file for {where}")

"""Lock files: what is pinned, and how two architectures become one list. Pure.

A lock is a text of lines `name==version --hash=sha256:…`, with `# <file>` behind a source archive, which is fetched and
built apart (builder/plan/sdists.py). One file per platform, model and architecture:
`<platform>/<model>.<architecture>.txt`; `<platform>/framework.<architecture>.txt` and `adapter.<architecture>.txt` for
what all models of the platform share; `<platform>/<component>-<version>.<architecture>.txt` for a component that the
package index has as a wheel; `installer/uv.<architecture>.txt` for uv itself, which all platforms share. Made by
`drivebuild lock` with uv; free of index URLs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from builder.errors import PlanError

__all__ = [
    "ADAPTER",
    "FRAMEWORK",
    "MACHINES",
    "Pinned",
    "added",
    "installer_lock",
    "lock_archives",
    "lock_path",
    "merged",
    "parse_lock",
    "published_lock",
]

FRAMEWORK = "framework"
ADAPTER = "adapter"
"""The framework with what makes it one for NPUs."""
MACHINES = ("x86_64", "aarch64")
"""All architectures: the installer's stage is one text for every platform, whichever of them it exists for."""
_LINE = re.compile(
    r"(?P<name>[a-z0-9]+(-[a-z0-9]+)*)==(?P<version>[0-9A-Za-z.+!]+)(?P<hashes>( --hash=sha256:[0-9a-f]{64})+)"
    r"( # (?P<archive>[A-Za-z0-9][A-Za-z0-9._+!-]*\.(tar\.gz|tgz|tar\.bz2|tar\.xz|zip)))?\Z"
)

_HASH = " --hash=sha256:"

Pinned = Mapping[str, tuple[str, tuple[str, ...]]]
_Item = tuple[str, tuple[str, tuple[str, ...]]]
"""Version and sha256 hashes by normalised name."""


def lock_path(platform: str, name: str, architecture: str) -> str:
    """Return the path of a lock below `locks/`."""
    return f"{platform}/{name}.{architecture}.txt"


def installer_lock(architecture: str) -> str:
    """Return the path of the lock of uv, with which images install all other packages."""
    return lock_path("installer", "uv", architecture)


def published_lock(component: str, version: str) -> str:
    """Return the name of the lock of a component's published wheel."""
    return f"{component}-{version}"


@lru_cache(maxsize=8192)
def parse_lock(text: str, path: str) -> Pinned:
    """Return what a lock pins. Read once: each plan of a platform asks for the same locks.

    Raises:
        PlanError: naming file and line of what is not `name==version --hash=sha256:…`.
    """
    pinned: dict[str, tuple[str, tuple[str, ...]]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if not match:
            hint = "locks are generated: run `drivebuild lock`"
            raise PlanError(f"locks/{path}:{number}: not a pinned requirement with hashes: {line[:80]!r}", hint=hint)
        name, version, hashes = match.group("name", "version", "hashes")
        if name in pinned:
            hint = "locks are generated: run `drivebuild lock`"
            raise PlanError(f"locks/{path}:{number}: {name!r} is pinned twice", hint=hint)
        pinned[name] = (version, tuple(hashes[len(_HASH) :].split(_HASH)))
    return MappingProxyType(pinned)


@lru_cache(maxsize=8192)
def lock_archives(text: str, path: str) -> Mapping[str, str]:
    """Return the file names of the source archives that a lock names, by sha256.

    Raises:
        PlanError: as `parse_lock`; for an archive of several hashes, of which nobody could say which is its own.
    """
    if not parse_lock(text, path):
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        # Few lines have any, and each match takes as long as all else here.
        match = _LINE.match(line) if " # " in line else None
        if match and match["archive"]:
            if match["hashes"].count("--hash") != 1:
                hint = "locks are generated: run `drivebuild lock`"
                raise PlanError(f"locks/{path}: {match['name']}: a source archive has one sha256", hint=hint)
            found[match["hashes"].rpartition(":")[2]] = match["archive"]
    return MappingProxyType(found)


def added(pinned: Pinned, other: Pinned) -> Pinned:
    """Return what `pinned` adds to `other`: what is not there, or there in another version.

    A model may pin a small package differently from the framework (PivotNet's Pillow); its version is then
    installed over the shared one. torch, torchvision and numpy cannot differ: the platform forces them on all.
    """
    return {name: item for name, item in pinned.items() if name not in other or other[name][0] != item[0]}


def merged(locks: Mapping[str, Pinned], order: Sequence[str]) -> tuple[str, ...]:
    """Return one list of requirement lines for all architectures of `locks`.

    A line that does not hold for every architecture carries a marker.
    """
    # Most are those of a platform, and the same for every model.
    return _merged(tuple((architecture, tuple(lock.items())) for architecture, lock in locks.items()), tuple(order))


@lru_cache(maxsize=8192)
def _merged(items: tuple[tuple[str, tuple[_Item, ...]], ...], order: tuple[str, ...]) -> tuple[str, ...]:
    locks = {architecture: dict(members) for architecture, members in items}
    names = sorted({name for lock in locks.values() for name in lock})
    lines: list[str] = []
    for name in names:
        versions: dict[str, dict[str, tuple[str, ...]]] = {}
        for architecture in order:
            if name in locks[architecture]:
                version, hashes = locks[architecture][name]
                versions.setdefault(version, {})[architecture] = hashes
        for version, by_architecture in versions.items():
            lines.append(_line(name, version, by_architecture, order))
    return tuple(lines)


def _line(name: str, version: str, hashes: Mapping[str, Iterable[str]], order: Sequence[str]) -> str:
    text = f"{name}=={version}"
    if len(hashes) < len(order):
        tests = " or ".join(f"platform_machine == '{architecture}'" for architecture in hashes)
        text += f" ; {tests}"
    unique = dict.fromkeys(item for items in hashes.values() for item in items)
    return text + "".join(f" --hash=sha256:{item}" for item in unique)

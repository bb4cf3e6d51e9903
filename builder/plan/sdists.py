"""Locked packages that the index has as source archives alone: fetched without running them, built alone. Pure.

A source archive is a program: its setup.py. What fetches it runs nothing of it; what builds it has no network, no
credentials and no cache, sees the framework, and leaves one wheel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from builder.errors import PlanError
from builder.plan.locks import ADAPTER, FRAMEWORK, MACHINES, Pinned, installer_lock, lock_archives, lock_path, merged
from builder.plan.locks import published_lock as published
from builder.plan.optimise import BESIDE_TORCH
from builder.plan.scope import PYTHON_STOCK, Scope
from builder.plan.sources import INDEX_FILE
from builder.plan.stage import StageSpec

__all__ = ["Sdist", "archived", "fetcher_stage", "sdist_inputs", "sdist_stages", "sdists", "wheels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdist:
    """A locked source archive. `machines` are the architectures on which no wheel is locked in its place."""

    package: str
    version: str
    file: str
    sha256: str
    machines: tuple[str, ...]

    @property
    def fetched(self) -> str:
        """The stage that has the archive, in /archive."""
        return f"sdist-{self._word}"

    @property
    def built(self) -> str:
        """The stage that has its wheel, in /wheels."""
        return f"wheel-{self._word}"

    @property
    def _word(self) -> str:
        # Local versions and epochs have characters that no stage's name may have.
        return re.sub(r"[^a-z0-9.]+", "-", f"{self.package}-{self.version}".lower())


def archived(scope: Scope) -> Mapping[str, str]:
    """Return the file names of all source archives that locks of the image name, by sha256."""
    return _archived(scope)


@lru_cache(maxsize=4)
def _archived(scope: Scope) -> Mapping[str, str]:
    names = (scope.model.name, *(published(use.name, use.version) for use in scope.published))
    found: dict[str, str] = {}
    for name in names:
        found.update(_of_lock(scope, name))
    return MappingProxyType(found)


def _of_lock(scope: Scope, name: str) -> dict[str, str]:
    folder = scope.platform.locks or scope.platform.name
    paths = (lock_path(folder, name, architecture) for architecture in scope.platform.architectures)
    texts = ((path, scope.catalog.locks.get(path, "")) for path in paths)
    return {sha256: file for path, text in texts for sha256, file in lock_archives(text, path).items()}


def wheels(scope: Scope, packages: Mapping[str, Pinned]) -> dict[str, Pinned]:
    """Return the packages that are installed as the index has them, by architecture."""
    return _part(scope, packages, archives=False)


def _part(scope: Scope, packages: Mapping[str, Pinned], *, archives: bool) -> dict[str, Pinned]:
    names, known = _archived_names(scope), archived(scope)
    found: dict[str, Pinned] = {}
    for architecture, lock in packages.items():
        # A name alone says nothing: another lock may have it as a wheel.
        own = [name for name in names if name in lock and lock[name][1][0] in known]
        if archives:
            found[architecture] = {name: lock[name] for name in sorted(own)}
        else:
            found[architecture] = {name: item for name, item in lock.items() if name not in own} if own else dict(lock)
    return found


@lru_cache(maxsize=4)
def _archived_names(scope: Scope) -> frozenset[str]:
    """Return the packages that some lock of the image names with a source archive: few, of many locks' lines."""
    known = archived(scope)
    locks = [scope.model_locks(), *(scope.published_locks(use) for use in scope.published)] if known else []
    every = (item for lock in locks for pinned in lock.values() for item in pinned.items())
    return frozenset(name for name, (_, hashes) in every if hashes[0] in known)


def sdists(scope: Scope, packages: Mapping[str, Pinned]) -> tuple[Sdist, ...]:
    """Return the source archives among packages, by name and version."""
    if not archived(scope):
        return ()
    found: dict[tuple[str, str, str], list[str]] = {}
    for architecture, lock in _part(scope, packages, archives=True).items():
        for name, (version, hashes) in lock.items():
            found.setdefault((name, version, hashes[0]), []).append(architecture)
    return tuple(
        Sdist(package=name, version=version, file=archived(scope)[sha256], sha256=sha256, machines=tuple(machines))
        for (name, version, sha256), machines in sorted(found.items())
    )


def sdist_inputs(scope: Scope, packages: Mapping[str, Pinned]) -> dict[str, Any]:
    """Return what a stage that installs packages is told of the source archives among them.

    `archives` are their lines of the lock; `sdists` the stages of their wheels, each with what is installed from it.
    """
    lines = merged(_part(scope, packages, archives=True), scope.platform.architectures)
    every = len(scope.platform.architectures)
    return {
        "archives": lines,
        "sdists": tuple({"stage": item.built, "wanted": _wanted(item, every)} for item in sdists(scope, packages)),
    }


def _wanted(item: Sdist, every: int) -> str:
    tests = " or ".join(f"platform_machine == '{machine}'" for machine in item.machines)
    return f"{item.package}=={item.version}" + (f" ; {tests}" if len(item.machines) < every else "")


def fetcher_stage() -> StageSpec:
    """Return the stage of the script that fetches one file from the package index."""
    return StageSpec(name=INDEX_FILE, template="index-file", base="scratch")


def sdist_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield for each source archive of the environment the stage that fetches it, and the one that builds it.

    Raises:
        PlanError: for one in the lock of the framework, its adapter or uv, which are there before anything is built.
    """
    _refuse(scope)
    every = len(scope.platform.architectures)
    for item in sdists(scope, scope.env_packages()):
        what = {"package": item.package, "version": item.version, "file": item.file, "sha256": item.sha256}
        yield StageSpec(name=item.fetched, template="source-index", base="build-base", inputs=what, uses=(INDEX_FILE,))
        inputs: dict[str, Any] = {
            "package": item.package,
            "version": item.version,
            "file": item.file,
            "source": item.fetched,
            "python": PYTHON_STOCK,
            "machines": item.machines if len(item.machines) < every else (),
        }
        yield StageSpec(
            name=item.built, template="sdist", base=BESIDE_TORCH, inputs=inputs, uses=(PYTHON_STOCK, item.fetched)
        )


def _refuse(scope: Scope) -> None:
    locks = {f"{scope.platform.name}'s framework": _of_lock(scope, FRAMEWORK)}
    if scope.platform.adapter:
        locks[f"{scope.platform.name}'s adapter"] = _of_lock(scope, ADAPTER)
    for path in map(installer_lock, MACHINES):
        locks[f"uv, {path},"] = dict(lock_archives(scope.catalog.locks.get(path, ""), path))
    for what, files in locks.items():
        if files:
            first = next(iter(files.values()))
            message = f"the lock of {what} has a source archive, {first}: these packages come as wheels alone"
            raise PlanError(message, hint="pin a version that has a wheel, and run `drivebuild lock`")

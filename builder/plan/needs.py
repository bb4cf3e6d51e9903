"""What an offline build of a plan must have, one value for each thing that is fetched. Pure.

A need names the stage whose build context it belongs to: that context stands in for the stage, so one Dockerfile serves
online and offline. `key` is what the store knows the thing by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from builder.plan.bootstrap import bootstrap_mark
from builder.plan.common import COMMON_PACKAGES, common_packages, own_packages
from builder.plan.compiled_by import toolchain_sources
from builder.plan.image import MODEL_PACKAGES
from builder.plan.locks import Pinned, added, installer_lock
from builder.plan.requirements import INSTALLER_PYTHON
from builder.plan.scope import OS_PACKAGES, Scope, read_lock, scope_of
from builder.plan.sdists import archived, sdists
from builder.plan.sources import DOWNLOADER, archive_name, used_sources
from builder.plan.stage import Plan
from builder.recipe.types import (
    Agreement,
    ArchiveSource,
    Bootstrap,
    Catalog,
    DebianSource,
    GitSource,
    IndexSource,
    Source,
)

__all__ = [
    "DebianNeed",
    "FileNeed",
    "GitNeed",
    "ImageNeed",
    "Need",
    "PackageNeed",
    "SystemNeed",
    "WeightNeed",
    "plan_needs",
    "source_need",
]

ARCHIVE = "archive"
"""The folder in which a source stage has its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitNeed:
    """The tree of one commit; its context has the tree's files at the root."""

    stage: str
    name: str
    url: str
    commit: str
    ref: str = ""

    @property
    def key(self) -> str:
        return f"git:{self.commit}"

    @property
    def title(self) -> str:
        return f"{self.name}: commit {self.commit[:12]} of {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNeed:
    """A file behind a URL; its context has it as `archive/<file>`. Without a checksum its URL is its name."""

    stage: str
    name: str
    url: str
    sha256: str | None
    file: str
    referer: str = ""
    eula: Agreement | None = None

    @property
    def key(self) -> str:
        return f"sha256:{self.sha256}" if self.sha256 else f"url:{self.url}"

    @property
    def title(self) -> str:
        return f"{self.name}: {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageNeed:
    """A file of the package index, by its sha256; `folder` is where it lies in its context, '' for the root."""

    stage: str
    name: str
    version: str
    sha256: str
    python: str
    architecture: str
    file: str = ""
    """Empty where only the index knows the file's name."""
    folder: str = ""

    @property
    def key(self) -> str:
        return f"sha256:{self.sha256}"

    @property
    def title(self) -> str:
        return f"{self.name} {self.version} for Python {self.python} on {self.architecture}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianNeed:
    """The upstream tarball of a distribution's source package; its context has it as `archive/<file>`."""

    stage: str
    name: str
    package: str
    suite: str
    file: str
    sha256: str

    @property
    def key(self) -> str:
        return f"sha256:{self.sha256}"

    @property
    def title(self) -> str:
        return f"{self.name}: {self.file} of the source package {self.package} in {self.suite}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemNeed:
    """The distribution's packages that the stages install; its context has apt's own `lists/` and `archives/`."""

    stage: str
    suite: str
    architecture: str
    include: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def key(self) -> str:
        text = "\n".join((self.suite, self.architecture, *self.include, "--", *self.packages))
        return f"system:{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def title(self) -> str:
        return f"{len(self.packages)} packages of {self.suite} for {self.architecture}, with what they depend on"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNeed:
    """The base image, as a file that the engine loads or imports."""

    image: str
    digest: str | None
    bootstrap: Bootstrap | None
    architecture: str
    stage: str = ""

    @property
    def key(self) -> str:
        made = f"+{bootstrap_mark(self.bootstrap)}" if self.bootstrap else ""
        return f"image:{self.digest or self.image}{made}@{self.architecture}"

    @property
    def title(self) -> str:
        return f"base image {self.image} for {self.architecture}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightNeed:
    """A file of weights. No build wants it; who trains does."""

    name: str
    file: str
    url: str
    sha256: str | None
    stage: str = ""

    @property
    def key(self) -> str:
        return f"sha256:{self.sha256}" if self.sha256 else f"url:{self.url}"

    @property
    def title(self) -> str:
        return f"weights {self.file} of {self.name}: {self.url}"


Need = GitNeed | FileNeed | PackageNeed | DebianNeed | SystemNeed | ImageNeed | WeightNeed


def plan_needs(catalog: Catalog, plan: Plan, architecture: str, *, until: str = "") -> tuple[Need, ...]:
    """Return all that a build of `plan` on one architecture fetches, up to a stage; with the weights that have a URL.

    Raises:
        PlanError: when a lock is missing.
    """
    scope = scope_of(
        catalog,
        plan.model.name,
        platform=plan.platform.name,
        variant=plan.variant,
        architecture=architecture,
        options=plan.options,
        pinned=plan.pinned,
        toolchain=plan.toolchain,
    )
    wanted = set(plan.closure(until or plan.names[-1]))
    found = (*_image(scope, architecture), *_system(scope, architecture), *_packages(scope, architecture))
    found += tuple(_sources(scope, architecture))
    weights = tuple(_weights(scope)) if not until else ()
    # Two stages may want the same file: both get it, so only whole duplicates go.
    return (*dict.fromkeys(need for need in found if not need.stage or need.stage in wanted), *weights)


def _image(scope: Scope, architecture: str) -> Iterator[Need]:
    base = scope.platform.base
    yield ImageNeed(image=base.image, digest=base.digest, bootstrap=base.bootstrap, architecture=architecture)


def _system(scope: Scope, architecture: str) -> Iterator[Need]:
    """Yield the need of the distribution's packages: one set for all models and variants of the platform.

    It is mounted where the first stage installs. A set for each model would be another content there, and nothing of
    the stack would be shared.
    """
    bootstrap, system = scope.platform.base.bootstrap, scope.system
    if bootstrap is None:
        return
    toolchains = scope.catalog.toolchains.values()
    compilers = (package for each in toolchains if system.name in each.systems for package in each.packages)
    packages = {
        *system.runtime,
        *(name for key, names in scope.platform.libraries.items() if key == architecture for name in names),
        *system.tcmalloc,
        *system.jemalloc,
        *system.build,
        *system.python_build,
        *system.tcmalloc_build,
        *compilers,
    }
    if scope.cann_way == "run" and scope.platform.cann:
        packages |= {*scope.platform.cann.packages, *DOWNLOADER}
    wanted, include = tuple(sorted(packages)), bootstrap.include
    yield SystemNeed(
        stage=OS_PACKAGES, suite=bootstrap.suite, architecture=architecture, include=include, packages=wanted
    )


def _packages(scope: Scope, architecture: str) -> Iterator[Need]:
    installer = read_lock(scope.catalog, installer_lock(architecture))
    framework = scope.framework_locks()[architecture]
    locks = (
        ("packages-installer", installer, INSTALLER_PYTHON),
        ("packages-framework", framework, scope.series),
        ("packages-adapter", added(scope.stack_locks()[architecture], framework), scope.series),
        (COMMON_PACKAGES, common_packages(scope)[architecture], scope.series),
        (MODEL_PACKAGES, own_packages(scope)[architecture], scope.series),
    )
    elsewhere = archived(scope)
    for stage, lock, python in locks:
        files = {name: item for name, item in lock.items() if item[1][0] not in elsewhere}
        yield from _lock_needs(stage, files, python, architecture)
    for item in sdists(scope, scope.env_packages()):
        # Another architecture's, too: its stage stands in every build.
        yield PackageNeed(
            stage=item.fetched,
            name=item.package,
            version=item.version,
            sha256=item.sha256,
            python=scope.series,
            architecture=architecture if architecture in item.machines else item.machines[0],
            file=item.file,
            folder=ARCHIVE,
        )


def _lock_needs(stage: str, lock: Pinned, python: str, architecture: str) -> Iterator[Need]:
    for name, (version, hashes) in sorted(lock.items()):
        for sha256 in hashes:
            yield PackageNeed(
                stage=stage, name=name, version=version, sha256=sha256, python=python, architecture=architecture
            )


def _sources(scope: Scope, architecture: str) -> Iterator[Need]:
    elsewhere = _of_other_architectures(scope, architecture)
    for name in used_sources(scope):
        if name not in elsewhere:
            source = scope.catalog.sources[name]
            yield source_need(name, source, python=scope.series, architecture=architecture)


def _of_other_architectures(scope: Scope, architecture: str) -> set[str]:
    """Return the sources that only another architecture's image takes: its wheels, its installers."""
    installers = scope.platform.cann.installers if scope.platform.cann else {}
    lists = [scope.platform.wheels, installers, toolchain_sources(scope)]
    others = {name for item in lists for key, names in item.items() if key != architecture for name in names}
    own = {name for item in lists for key, names in item.items() if key == architecture for name in names}
    return others - own


def source_need(name: str, source: Source, *, python: str, architecture: str) -> Need:
    """Return what one source is fetched as."""
    stage = f"src-{name}"
    match source:
        case GitSource():
            return GitNeed(stage=stage, name=name, url=source.url, commit=source.commit, ref=source.ref)
        case ArchiveSource():
            return FileNeed(
                stage=stage,
                name=name,
                url=source.url,
                sha256=source.sha256,
                file=archive_name(source),
                referer=source.referer or "",
                eula=source.eula,
            )
        case DebianSource():
            return DebianNeed(
                stage=stage,
                name=name,
                package=source.package,
                suite=source.suite,
                file=source.file,
                sha256=source.sha256,
            )
        case IndexSource():
            return PackageNeed(
                stage=stage,
                name=source.package,
                version=source.version,
                sha256=source.sha256,
                python=python,
                architecture=architecture,
                file=source.file,
                folder=ARCHIVE,
            )


def _weights(scope: Scope) -> Iterator[Need]:
    for weight in scope.model.weights:
        if weight.url:
            yield WeightNeed(name=scope.model.name, file=weight.file, url=weight.url, sha256=weight.sha256)

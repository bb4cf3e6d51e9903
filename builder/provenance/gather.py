"""From an image's files to its inventory: who installed what, what was compiled from what, what nobody owns. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from builder.provenance.dpkg import copyright_licences, read_packages
from builder.provenance.inventory import Facts, Inventory, Package
from builder.provenance.licences import UNKNOWN, classes_of, expression_of, joined, reference
from builder.provenance.manifest import Change, Manifest, read_manifest
from builder.provenance.python import (
    Distribution,
    read_distributions,
    read_interpreter,
    read_locks,
    source_of,
)
from builder.provenance.rpm import Rpm
from builder.provenance.snapshot import Snapshot, resolve

__all__ = ["gather"]

TREE, OVERLAY, SOURCE = "tree", "overlay-", "-source"
"""Names of the stages in which steps are applied."""
_SPDX_PYTHON = "PSF-2.0"
_CANN_LICENCE = "Huawei Enterprise End User License Agreement"
CANN = "/usr/local/Ascend"


class _Found(msgspec.Struct):
    """Packages, and the paths of each while they are found."""

    packages: list[Package]
    paths: list[Sequence[str]]
    sums: list[Mapping[str, str]]

    def add(self, package: Package, paths: Sequence[str] = (), sums: Mapping[str, str] | None = None) -> None:
        """Add a package with its paths, and what its files were when they were installed."""
        self.packages.append(package)
        self.paths.append(paths)
        self.sums.append(sums or {})


def gather(snapshot: Snapshot, facts: Facts, rpms: Sequence[Rpm] = ()) -> Inventory:
    """Return the inventory of an image.

    Args:
        snapshot: the image.
        facts: what the recipes know.
        rpms: what the image's own rpm says is installed: its database has a form that only rpm reads.
    """
    manifest = read_manifest(snapshot)
    found = _Found([], [], [])
    release = _release(snapshot)
    for deb in read_packages(snapshot):
        found.add(_licensed(_deb(deb, release), deb.licences), deb.paths, deb.sums)
    for rpm in rpms:
        found.add(_licensed(_rpm(rpm, release), (rpm.licence,)), rpm.paths)
    compiled = _compiled(manifest, facts)
    locks = read_locks(snapshot)
    distributions = read_distributions(snapshot)
    packaged = {
        path: package.name for package, paths in zip(found.packages, found.paths, strict=True) for path in paths
    }
    for each in distributions:
        package = _python(each, compiled, locks, manifest)
        system = packaged.get(f"{each.folder}/METADATA") or packaged.get(f"{each.folder}/PKG-INFO")
        if system:
            package = msgspec.structs.replace(package, properties=(*package.properties, ("part of", system)))
        said = each.licences or _known(facts, compiled.get(each.name, ""))
        found.add(_licensed(package, said), tuple(each.record), each.record)
    _own(found, snapshot, manifest, facts)
    return _finished(snapshot, manifest, found, distributions)


def _release(snapshot: Snapshot) -> tuple[str, str]:
    """Return id and version of the distribution."""
    text = snapshot.text("/etc/os-release") or snapshot.text("/usr/lib/os-release")
    said = dict(re.findall(r"^(ID|VERSION_ID)=[\"']?([A-Za-z0-9._-]*)[\"']?$", text, re.MULTILINE))
    return said.get("ID", "linux").lower(), said.get("VERSION_ID", "")


def _licensed(package: Package, said: Iterable[str]) -> Package:
    """Return a package with its licences as one expression; words that SPDX does not have are named as they are."""
    words = tuple(word for word in said if word)
    known = [expression_of(word) for word in words]
    expression = joined(good or reference(word) for word, good in zip(words, known, strict=True))
    classes = set(classes_of(expression)) if any(known) else {UNKNOWN}
    return msgspec.structs.replace(package, licences=words, expression=expression, classes=tuple(sorted(classes)))


def _deb(deb: Any, release: tuple[str, str]) -> Package:
    return Package(
        kind="deb",
        name=deb.name,
        version=deb.version,
        architecture=deb.architecture,
        distribution="-".join(filter(None, release)),
        source=deb.source,
        source_version=deb.source_version,
        supplier=deb.maintainer,
        requires=deb.depends,
    )


def _rpm(rpm: Rpm, release: tuple[str, str]) -> Package:
    return Package(
        kind="rpm",
        name=rpm.name,
        version=rpm.version,
        architecture=rpm.architecture,
        distribution="-".join(filter(None, release)),
        source=rpm.source,
        supplier=rpm.vendor,
    )


def _compiled(manifest: Manifest, facts: Facts) -> dict[str, str]:
    """Return the component that compiled each distribution, by the distribution's plain name."""
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    for component, (_version, source, _flags) in manifest.components.items():
        if source in ("", "package index"):
            continue
        names = {facts.distributions.get(component, ""), manifest.sources.get(source, {}).get("package", "")}
        found |= {canonicalize_name(name): component for name in (names - {""} or {component})}
    return found


def _python(
    each: Distribution,
    compiled: Mapping[str, str],
    locks: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]],
    manifest: Manifest,
) -> Package:
    component = compiled.get(each.name, "") if each.folder.startswith("/opt/venv/") else ""
    lock, hashes = ("", ()) if component else locks.get((each.name, each.version), ("", ()))
    _version, source, flags = manifest.components.get(component, ("", "", {}))
    properties = [("installer", each.installer), ("lock", lock), ("origin", each.origin)]
    properties += [("bundles", name) for name in each.bundled]
    if component:
        properties += [("component", component), ("compiler", _compiler(manifest)), ("profile", manifest.profile)]
        properties += [(f"flag {name}", value) for name, value in sorted(flags.items())]
    return Package(
        kind="wheel" if component else "python",
        name=each.name,
        version=each.version,
        place=each.folder.rpartition("/")[0],
        source=source,
        requires=each.requires,
        sha256=hashes,
        changes=_changes_of(component, manifest) if component else (),
        properties=tuple((name, value) for name, value in properties if value),
    )


def _compiler(manifest: Manifest) -> str:
    used = sorted(set(manifest.toolchain.values()))
    return ", ".join(used) or "the system's"


def _changes_of(component: str, manifest: Manifest) -> tuple[Change, ...]:
    return (*manifest.changes_of(component + SOURCE), *manifest.changes_of(OVERLAY + component))


def _known(facts: Facts, *names: str) -> tuple[str, ...]:
    return tuple(filter(None, [next((facts.licences[name] for name in names if facts.licences.get(name)), "")]))


def _own(found: _Found, snapshot: Snapshot, manifest: Manifest, facts: Facts) -> None:
    """Add what no package manager knows: the interpreter, CANN, allocators, sources, drivebuild's own files."""
    interpreter = read_interpreter(snapshot)
    debian = [name for name, source in manifest.sources.items() if source.get("type") == "debian-source"]
    if interpreter is not None:
        compiler = manifest.python.get("compiler", "")
        properties = (("compiler", compiler), ("variant", manifest.variant), *interpreter.settings)
        package = Package(
            kind="interpreter",
            name="cpython",
            version=interpreter.version,
            place="/opt/python",
            source=next((name for name in (*debian, *manifest.sources) if name.startswith("python-")), ""),
            properties=tuple((name, value) for name, value in properties if value),
        )
        found.add(_licensed(package, (_SPDX_PYTHON,)), _below(snapshot, "/opt/python/"))
    if manifest.cann:
        package = Package(
            kind="toolkit",
            name="cann",
            version=manifest.cann.get("version", ""),
            place=CANN,
            properties=(("way", manifest.cann.get("way", "")),),
        )
        found.add(_licensed(package, (_CANN_LICENCE,)), _below(snapshot, CANN + "/"))
    _allocators(found, snapshot, manifest, facts)
    _sources(found, snapshot, manifest, facts)
    records = [*_below(snapshot, "/opt/drivebuild/"), *_below(snapshot, "/usr/local/bin/drivebuild-job")]
    if records:
        found.add(_licensed(Package(kind="records", name="drivebuild", version=""), ("Apache-2.0",)), records)


def _below(snapshot: Snapshot, start: str) -> tuple[str, ...]:
    return tuple(path for path, entry in snapshot.entries.items() if path.startswith(start) and entry.kind != "folder")


def _allocators(found: _Found, snapshot: Snapshot, manifest: Manifest, facts: Facts) -> None:
    """Add the allocators that lie in the image as files: what dpkg does not know has no package otherwise."""
    packaged = {path for paths in found.paths for path in paths}
    for link in sorted(path for path in snapshot.entries if re.fullmatch(r"/opt/drivebuild/lib[a-z]+\.so", path)):
        target = resolve(snapshot.entries, link)
        name = link.rpartition("/lib")[2].removesuffix(".so")
        if target in packaged or target not in snapshot.entries or target == link:
            continue
        debian = facts.packages.get(name, "")
        version, source, _flags = manifest.components.get(name, ("", "", {}))
        paths = _below(snapshot, "/opt/gperftools/") if target.startswith("/opt/gperftools/") else (target,)
        copyright_file = resolve(snapshot.entries, f"/usr/share/doc/{debian}/copyright")
        said = copyright_licences(snapshot.text(copyright_file)) if debian else _known(facts, name, source)
        copied = ("copied from", f"the distribution's package {debian}") if debian else ("copied from", source)
        package = Package(kind="library", name=name, version=version, place=target, source=source, properties=(copied,))
        found.add(_licensed(package, said), paths)


def _sources(found: _Found, snapshot: Snapshot, manifest: Manifest, facts: Facts) -> None:
    used = {package.source for package in found.packages}
    # The model's own tree comes last: it has what is left.
    for name, source in sorted(
        manifest.sources.items(), key=lambda item: (item[0] not in facts.kept.values(), item[0])
    ):
        own = name == facts.tree or (not facts.tree and name == manifest.model)
        folder = next((each for each, kept in facts.kept.items() if kept == name), "/workspace/" if own else "")
        changes = manifest.changes_of(TREE) if own else ()
        properties = [("type", source.get("type", "")), ("ref", source.get("ref", ""))]
        properties += [("file", source.get("file", "")), ("override", manifest.overrides.get(f"source {name}", ""))]
        use = (
            "lies in the image"
            if folder
            else "was compiled"
            if name in used
            else "files and patches were taken from it"
        )
        package = Package(
            kind="source",
            name=name,
            version=source.get("commit", "") or source.get("version", "") or source.get("sha256", "")[:12],
            place=folder.rstrip("/"),
            url=source.get("url", ""),
            sha256=tuple(filter(None, [source.get("sha256", "")])),
            changes=changes,
            properties=(("use", use), *((key, value) for key, value in properties if value)),
        )
        found.add(_licensed(package, _known(facts, name)), _below(snapshot, folder) if folder else ())


def _finished(
    snapshot: Snapshot, manifest: Manifest, found: _Found, distributions: Sequence[Distribution]
) -> Inventory:
    owners: dict[str, int] = {}
    packages: list[Package] = []
    for number, (package, paths, sums) in enumerate(zip(found.packages, found.paths, found.sums, strict=True)):
        packages.append(_counted(snapshot, package, paths, number, owners, sums))
    for path, entry in snapshot.entries.items():
        if entry.kind == "file" and path not in owners and (source := source_of(path)) in owners:
            owners[path] = owners[source]
    unowned = sorted(path for path, each in snapshot.entries.items() if each.kind == "file" and path not in owners)
    return Inventory(
        snapshot=snapshot,
        manifest=manifest,
        packages=tuple(packages),
        owners=owners,
        unowned=tuple(unowned),
        notes=tuple(_notes(snapshot, manifest, distributions)),
    )


def _counted(
    snapshot: Snapshot,
    package: Package,
    paths: Iterable[str],
    number: int,
    owners: dict[str, int],
    sums: Mapping[str, str],
) -> Package:
    """Return a package with its files counted; who comes first owns a file. `sums`: of files as they were installed."""
    files = size = missing = 0
    changed = []
    for path in dict.fromkeys(paths):
        entry = snapshot.entries.get(path)
        if entry is None:
            # dpkg keeps some of these for a package, and other ones for another.
            missing += not path.startswith("/var/lib/dpkg/info/")
            continue
        if entry.kind == "folder" or owners.setdefault(path, number) != number:
            continue
        if entry.kind == "file":
            files += 1
            size += 0 if entry.first else entry.size
        if sums.get(path) and entry.sha256 and sums[path] not in (entry.sha256, entry.md5):
            changed.append(path)
    return msgspec.structs.replace(package, files=files, bytes=size, changed=tuple(changed), missing=missing)


def _notes(snapshot: Snapshot, manifest: Manifest, distributions: Sequence[Distribution]) -> Iterator[str]:
    if manifest.trouble:
        yield manifest.trouble
    elif not manifest.sources:
        yield "no manifest: git sources, patches and flags are recorded in finished images only"
    for each in distributions:
        if each.trouble:
            yield f"{each.folder}: {each.trouble}"
    for path in snapshot.left_out:
        yield f"{path}: too large to be read"

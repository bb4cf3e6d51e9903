"""What two images differ in: packages, sources, patches, flags, configuration, files. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from builder.provenance.inventory import Inventory, Package
from builder.provenance.python import source_of
from builder.provenance.snapshot import Entry

__all__ = ["Difference", "FileChange", "Group", "Pair", "by_folder", "compare"]

How = Literal["added", "removed", "content", "mode", "owner", "target", "kind"]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not the same; '' where an image has it not."""

    group: str
    name: str
    before: str
    after: str


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """One path that is not the same."""

    path: str
    how: How
    """The first of these that holds: `content` before `mode`, and so on."""
    before: int
    """Bytes; 0 where it is not there."""
    after: int
    package: str
    """Kind and name of what it is of, in the image that has it; '' of none."""
    byte_code: bool


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The changes below one folder."""

    folder: str
    added: int
    removed: int
    changed: int
    byte_code: int
    """Of all these, byte code."""
    bytes: int
    """Bytes more than before; negative for less."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that two images differ in."""

    packages: tuple[Pair, ...]
    sources: tuple[Pair, ...]
    steps: tuple[Pair, ...]
    """Patches, copies, edits and removals that were applied in one image only, or otherwise."""
    flags: tuple[Pair, ...]
    config: tuple[Pair, ...]
    files: tuple[FileChange, ...]

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not any((self.packages, self.sources, self.steps, self.flags, self.config, self.files))


def compare(before: Inventory, after: Inventory) -> Difference:
    """Return what the second image has otherwise than the first."""
    files = tuple(_files(before, after))
    return Difference(
        packages=_packages(before, after, files),
        sources=_pairs("source", _sources(before), _sources(after)),
        steps=_pairs("step", _steps(before), _steps(after)),
        flags=tuple(_flags(before, after)),
        config=tuple(_config(before, after)),
        files=files,
    )


def _pairs(group: str, before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Pair, ...]:
    names = sorted({*before, *after})
    return tuple(
        Pair(group=group, name=name, before=before.get(name, ""), after=after.get(name, ""))
        for name in names
        if before.get(name, "") != after.get(name, "")
    )


def _packages(before: Inventory, after: Inventory, files: Iterable[FileChange]) -> tuple[Pair, ...]:
    """Return packages with another version, and those of one version whose files are others: built another way."""
    versions = _pairs("package", _versions(before), _versions(after))
    moved = {pair.name for pair in versions}
    touched: dict[str, int] = {}
    for change in files:
        if change.package and change.how == "content":
            touched[change.package] = touched.get(change.package, 0) + 1
    rebuilt = [
        Pair(group="content", name=name, before="", after=f"{count} files of the same version have another content")
        for name, count in sorted(touched.items())
        if name not in {_bare(each) for each in moved}
    ]
    return (*versions, *rebuilt)


def _bare(name: str) -> str:
    return " ".join(name.split()[:2])


def _versions(inventory: Inventory) -> dict[str, str]:
    """Return versions by kind and name; of several of one name, each by its place."""
    found: dict[str, list[Package]] = {}
    for package in inventory.packages:
        if package.kind not in ("source", "records"):
            # Whether it was compiled or fetched is told by the versions of sources.
            kind = "python" if package.kind == "wheel" else package.kind
            found.setdefault(f"{kind} {package.name}", []).append(package)
    versions = {}
    for name, packages in found.items():
        for each in packages:
            told = name if len(packages) == 1 else f"{name} {each.architecture or each.place}"
            versions[told] = each.version or "?"
    return versions


def _sources(inventory: Inventory) -> dict[str, str]:
    return {package.name: package.version or "?" for package in inventory.packages if package.kind == "source"}


def _steps(inventory: Inventory) -> dict[str, str]:
    """Return what each step did, by its stage, its kind and what it is: not by its number, which a new one moves."""
    found: dict[str, str] = {}
    for change in inventory.manifest.changes:
        files = ", ".join(f"{each.path} {each.before[:12] or '-'}..{each.after[:12] or '-'}" for each in change.files)
        where = f" in {change.files[0].path}" if change.do in ("edit", "remove") and change.files else ""
        name = told = f"{change.stage}: {change.do} {change.what}".rstrip() + where
        times = 1
        while told in found:
            times += 1
            told = f"{name}, time {times}"
        found[told] = f"{change.sha256[:12]} {files}".strip()
    return found


def _flags(before: Inventory, after: Inventory) -> Iterator[Pair]:
    for group, of in _FLAGS.items():
        yield from _pairs(group, of(before), of(after))


def _interpreter(inventory: Inventory) -> Mapping[str, str]:
    return next((dict(each.properties) for each in inventory.packages if each.kind == "interpreter"), {})


def _compiled(inventory: Inventory) -> Mapping[str, str]:
    found = {}
    for name, (_version, source, flags) in inventory.manifest.components.items():
        found[f"{name} source"] = source
        found |= {f"{name} {flag}": value for flag, value in flags.items()}
    return found


_FLAGS: Mapping[str, Callable[[Inventory], Mapping[str, str]]] = {
    "variant": lambda each: {"variant": each.manifest.variant, "profile": each.manifest.profile},
    "option": lambda each: each.manifest.options,
    "base": lambda each: each.manifest.base,
    "cann": lambda each: each.manifest.cann,
    "python": _interpreter,
    "toolchain": lambda each: each.manifest.toolchain,
    "component": _compiled,
}


def _config(before: Inventory, after: Inventory) -> Iterator[Pair]:
    one, other = before.snapshot.config, after.snapshot.config
    yield from _pairs("environment", _environment(one.environment), _environment(other.environment))
    yield from _pairs("label", one.labels, other.labels)
    for name in ("user", "folder"):
        yield from _pairs(name, {name: getattr(one, name)}, {name: getattr(other, name)})
    for name in ("entrypoint", "command"):
        yield from _pairs(name, {name: " ".join(getattr(one, name))}, {name: " ".join(getattr(other, name))})
    machines = ({"architecture": each.snapshot.architecture} for each in (before, after))
    yield from _pairs("architecture", *machines)


def _environment(words: Iterable[str]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in words)


def _files(before: Inventory, after: Inventory) -> Iterator[FileChange]:
    one, other = before.snapshot.entries, after.snapshot.entries
    for path in sorted(one.keys() | other.keys()):
        old, new = one.get(path), other.get(path)
        how = _how(old, new)
        if how is None:
            continue
        owner = (after if new is not None else before).of(path)
        yield FileChange(
            path=path,
            how=how,
            before=old.size if old else 0,
            after=new.size if new else 0,
            package=f"{'python' if owner.kind == 'wheel' else owner.kind} {owner.name}" if owner else "",
            byte_code=bool(source_of(path)),
        )


def _how(old: Entry | None, new: Entry | None) -> How | None:
    if old is None or new is None:
        there = old or new
        # A folder is seen by what is in it.
        return None if there is None or there.kind == "folder" else "removed" if new is None else "added"
    if old.kind != new.kind:
        return "kind"
    if old.sha256 != new.sha256:
        return "content"
    if old.target != new.target:
        return "target"
    if old.mode != new.mode and old.kind != "link":
        return "mode"
    return "owner" if old.owner != new.owner else None


def by_folder(files: Iterable[FileChange], depth: int) -> tuple[Group, ...]:
    """Return the changes by folders of at most so many names, those with the most changes first."""
    found: dict[str, list[FileChange]] = {}
    for change in files:
        parts = change.path.split("/")[1:-1][:depth]
        found.setdefault("/" + "/".join(parts), []).append(change)
    groups = [
        Group(
            folder=folder,
            added=sum(each.how == "added" for each in changes),
            removed=sum(each.how == "removed" for each in changes),
            changed=sum(each.how not in ("added", "removed") for each in changes),
            byte_code=sum(each.byte_code for each in changes),
            bytes=sum(each.after - each.before for each in changes),
        )
        for folder, changes in found.items()
    ]
    return tuple(sorted(groups, key=lambda each: (-(each.added + each.removed + each.changed), each.folder)))

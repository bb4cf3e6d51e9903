"""Two images side by side: which layers are equal, which only but for times, and which files are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import msgspec

from builder.reproduce.archive import Read
from builder.reproduce.debs import LISTS, STATUS, moved, of_paths, versions
from builder.reproduce.entries import Entry, Layer, content_digest, spelled
from builder.reproduce.reasons import ACCEPTED, Reason, reason_for

__all__ = ["Comparison", "Difference", "LayerPair", "Side", "about_packages", "compare", "differing_paths"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One path that is not the same."""

    path: str
    reason: Reason
    note: str
    sizes: tuple[int | None, int | None]
    """Bytes in the first and in the second image; None where it is not there."""


class LayerPair(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of both images."""

    number: int
    """The lowest is 0."""
    stage: str
    instruction: str
    digests: tuple[str, str]
    """As the engine or the archive calls them."""
    contents: tuple[str, str]
    """Of all that they hold, times clamped: builder/reproduce/entries.py."""
    files: int
    times: int
    """Paths that differ in nothing but their time."""
    differences: tuple[Difference, ...]
    """Without those."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs, times neither."""
        return self.digests[0] == self.digests[1]

    @property
    def same_content(self) -> bool:
        """Whether nothing differs but times."""
        return self.contents[0] == self.contents[1] or (self.equal and bool(self.digests[0]))


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What is not the same in two images."""

    images: tuple[str, str]
    layers: tuple[LayerPair, ...]
    extra: tuple[int, int]
    """How many more layers the first has, and the second."""
    packages: tuple[str, ...]
    """Packages of the distribution that moved, in words."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many paths differ, by reason; times apart from all else."""
        return dict(Counter(each.reason for layer in self.layers for each in layer.differences))

    @property
    def undocumented(self) -> int:
        """How many paths differ for a reason that docs/reproducible.md does not accept."""
        return sum(number for reason, number in self.reasons.items() if reason not in ACCEPTED) + sum(self.extra)

    @property
    def same(self) -> bool:
        """Whether the images are equal but for what is documented."""
        return not self.undocumented and not any(self.extra)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One image: its name, its layers as read, and what made each."""

    name: str
    layers: tuple[Read, ...]
    ids: tuple[str, ...]
    """The layers' digests by the engine's word; '' where nobody says."""
    stages: tuple[tuple[str, str], ...] = ()
    """Stage and instruction of each layer."""

    def filled(self, layers: tuple[Read, ...]) -> Side:
        """Return the side with the same layers, of which more is known."""
        return msgspec.structs.replace(self, layers=layers)


def differing_paths(ours: Sequence[Layer], theirs: Sequence[Layer]) -> frozenset[str]:
    """Return the paths of which a second look at the contents can say more."""
    return frozenset(
        path
        for before, after in zip(ours, theirs, strict=False)
        for path in before.keys() & after.keys()
        if before[path].kind == after[path].kind == "file" and before[path].content != after[path].content
    )


def about_packages(path: str) -> bool:
    """Return whether a path is what dpkg knows about its packages."""
    return path == STATUS or (path.startswith(LISTS) and path.endswith(".list"))


def compare(ours: Side, theirs: Side, *, variant: str = "") -> Comparison:
    """Return what is not the same in two images, layer by layer and file by file.

    Args:
        ours: the first image, with the contents of what differs as far as they could be had.
        theirs: the second.
        variant: `stock`, `lto`, ...: what the first was compiled with.
    """
    packages, owner = _packages(ours, theirs)
    pairs = []
    for number, (before, after) in enumerate(zip(ours.layers, theirs.layers, strict=False)):
        stage, instruction = _at(theirs.stages, number) or _at(ours.stages, number) or ("", "")
        pairs.append(
            _pair(
                number,
                (before, after),
                (_id(ours, number), _id(theirs, number)),
                stage=stage,
                instruction=instruction,
                variant=variant,
                packages=packages,
                owner=owner,
            )
        )
    longer = len(ours.layers) - len(theirs.layers)
    return Comparison(
        images=(ours.name, theirs.name),
        layers=tuple(pairs),
        extra=(max(longer, 0), max(-longer, 0)),
        packages=tuple(packages.values()),
    )


def _pair(
    number: int,
    reads: tuple[Read, Read],
    ids: tuple[str, str],
    *,
    stage: str,
    instruction: str,
    variant: str,
    packages: Mapping[str, str],
    owner: Mapping[str, str],
) -> LayerPair:
    before, after = reads[0].layer, reads[1].layer
    times = 0
    differences = []
    for path in sorted({*before, *after}):
        one, other = before.get(path), after.get(path)
        if one == other:
            continue
        kept = reads[0].kept.get(path), reads[1].kept.get(path)
        texts = (kept[0], kept[1]) if kept[0] is not None and kept[1] is not None else None
        package = "" if path == STATUS and not packages else packages.get(owner.get(path, ""), "")
        if path == STATUS and packages:
            package = f"{len(packages)} packages moved"
        reason, note = reason_for(path, one, other, texts=texts, variant=variant, package=package)
        if reason == "time":
            times += 1
        else:
            sizes = (_size(one), _size(other))
            differences.append(Difference(path=spelled(path), reason=reason, note=spelled(note), sizes=sizes))
    return LayerPair(
        number=number,
        stage=stage,
        instruction=instruction,
        digests=ids,
        contents=(content_digest(before), content_digest(after)),
        files=len(after),
        times=times,
        differences=tuple(differences),
    )


def _packages(ours: Side, theirs: Side) -> tuple[dict[str, str], dict[str, str]]:
    """Return the packages that moved, in words, and the package of each path."""
    found = moved(versions(_newest(ours, STATUS)), versions(_newest(theirs, STATUS)))
    lists: dict[str, list[str]] = {}
    for side in (ours, theirs) if found else ():
        for read in side.layers:
            for path, text in read.kept.items():
                if path.startswith(LISTS) and PurePosixPath(path).suffix == ".list":
                    lists.setdefault(path, []).extend(text.decode("utf-8", "surrogateescape").splitlines())
    return found, of_paths(lists)


def _newest(side: Side, path: str) -> str:
    """Return the content of a file that the uppermost layer which has it gives it."""
    texts = [read.kept[path] for read in side.layers if path in read.kept]
    return texts[-1].decode("utf-8", "replace") if texts else ""


def _size(entry: Entry | None) -> int | None:
    return entry.size if entry is not None else None


def _id(side: Side, number: int) -> str:
    return side.ids[number] if number < len(side.ids) else side.layers[number].digest


def _at(items: Sequence[tuple[str, str]], number: int) -> tuple[str, str] | None:
    return items[number] if number < len(items) else None

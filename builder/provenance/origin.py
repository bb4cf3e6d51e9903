"""Where a file of an image comes from: its package, its source, what was done to it, by which layer, and why. Pure."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from builder.provenance.document import depends
from builder.provenance.inventory import Inventory, Package
from builder.provenance.manifest import Change, Touched
from builder.provenance.python import source_of
from builder.provenance.snapshot import Entry, resolve

__all__ = ["Applied", "Explanation", "Hunks", "Layer", "Recipe", "StepFact", "explain", "find", "nearest"]

NEAR = 5
"""Names that are offered for one that is not there."""
NEEDED = 6
"""Packages that need one, as far as they are named."""
Hunks = Callable[[Change, str], Sequence[str]]
"""Returns the hunks of a patch for one file, or nothing where the patch cannot be had."""


class StepFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe says of one step."""

    do: str
    note: str = ""
    source: str = ""
    """Where a patch or a copied file is from."""
    path: str = ""
    """Its path there."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What the recipes of today say, which an image does not: reasons. May be of another state than the image."""

    steps: Mapping[tuple[str, int], StepFact] = {}
    """By stage and number."""
    pins: Mapping[str, str] = {}
    """Reason by distribution."""
    roles: Mapping[str, str] = {}
    """What a system's recipe has a package for."""
    kept: Mapping[str, str] = {}
    """Stage of a component's source by the folder of the image that it is kept in."""
    stages: Mapping[str, str] = {}
    """What a stage is for, in its own first words."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """The layer that a file is in."""

    number: int
    """The lowest is 0."""
    count: int
    digest: str
    stage: str | None
    """'' for the base image, None where no stage of today's plan has its instruction."""
    instruction: str
    below: tuple[int, ...]
    """Layers with the same path that this one hides."""


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """One step that changed the file."""

    change: Change
    touched: Touched
    fact: StepFact | None
    hunks: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said about one path."""

    path: str
    facts: tuple[tuple[str, str], ...]
    steps: tuple[Applied, ...]
    verdict: str
    """Whether the file is what the steps, or the installation, left."""
    source: Explanation | None = None
    """Of byte code: what is known of the source it was compiled from; of a link: of what it leads to."""


def find(entries: Mapping[str, Entry], asked: str) -> tuple[str, ...]:
    """Return the paths that a name means: the path itself, links on the way followed, or all that end with it."""
    path = posixpath.normpath("/" + asked)
    if asked.startswith("/"):
        if path in entries:
            return (path,)
        folder = resolve(entries, posixpath.dirname(path))
        path = posixpath.join(folder, posixpath.basename(path))
        return (path,) if path in entries else ()
    return tuple(sorted(each for each in entries if each.endswith(path)))


def nearest(entries: Mapping[str, Entry], asked: str) -> tuple[str, ...]:
    """Return names that may have been meant: of the same file elsewhere, or like it in the same folder."""
    from difflib import get_close_matches

    path = posixpath.normpath("/" + asked)
    base, folder = posixpath.basename(path), posixpath.dirname(path)
    folder = resolve(entries, folder) if asked.startswith("/") else folder
    known = {posixpath.dirname(each) for each in entries}
    whole = folder in known
    while folder != "/" and folder not in known:
        folder, base = posixpath.dirname(folder), posixpath.basename(folder)
    start = folder.rstrip("/") + "/"
    beside = {each[len(start) :]: each for each in entries if each.startswith(start) and "/" not in each[len(start) :]}
    like = [beside[name] for name in get_close_matches(base, beside, n=NEAR, cutoff=0.6)]
    name = posixpath.basename(path)
    same = sorted(each for each in entries if posixpath.basename(each) == name)
    same.sort(key=lambda each: -len(posixpath.commonpath((each, path))))
    return tuple(dict.fromkeys((*like, *same) if whole else (*same, *like)))[:NEAR]


def explain(
    inventory: Inventory, path: str, layer: Layer | None, recipe: Recipe, hunks: Hunks, *, deeper: bool = True
) -> Explanation:
    """Return what is known of a path of an image.

    Args:
        inventory: the image.
        path: one that it has.
        layer: where it is, or None where the engine does not say.
        recipe: reasons.
        hunks: reads patches.
        deeper: whether the source of byte code, and what a link leads to, is explained, too.
    """
    entry = inventory.snapshot.entries[path]
    package = inventory.of(path)
    steps = tuple(_steps(inventory, path, recipe, hunks))
    told = _held(inventory, path) if entry.kind == "folder" else _package(inventory, package, path, recipe)
    facts = [*_file(entry), *_layer(layer, recipe), *told]
    beyond = source_of(path) or (resolve(inventory.snapshot.entries, path) if entry.kind == "link" else "")
    if source_of(path):
        facts.append(
            ("compiled", f"byte code of {beyond}{'' if beyond in inventory.snapshot.entries else ', which is gone'}")
        )
    known = deeper and beyond != path and beyond in inventory.snapshot.entries
    return Explanation(
        path=path,
        facts=tuple(facts),
        steps=steps,
        verdict=_verdict(entry, package, path, steps),
        source=explain(inventory, beyond, None, recipe, hunks, deeper=False) if known else None,
    )


def _file(entry: Entry) -> Iterator[tuple[str, str]]:
    user, group = entry.owner
    if entry.kind == "file":
        names = f", also named {entry.first}" if entry.first else ""
        yield "file", f"{entry.size} bytes, mode {entry.mode:04o}, of {user}:{group}{names}"
        yield "sha256", entry.sha256
    elif entry.kind == "link":
        yield "link", f"to {entry.target}"
    else:
        yield entry.kind, f"mode {entry.mode:04o}, of {user}:{group}"


def _layer(layer: Layer | None, recipe: Recipe) -> Iterator[tuple[str, str]]:
    if layer is None:
        return
    stage = "base image" if layer.stage == "" else layer.stage or "no stage of today's plan"
    yield "layer", f"{layer.number + 1} of {layer.count}, {layer.digest}"
    title = recipe.stages.get(layer.stage or "", "")
    yield "stage", f"{stage}: {title}" if title else stage
    if layer.instruction:
        yield "instruction", layer.instruction
    if layer.below:
        yield "hides", f"the same path in layer {', '.join(str(each + 1) for each in layer.below)}"


def _package(inventory: Inventory, package: Package | None, path: str, recipe: Recipe) -> Iterator[tuple[str, str]]:
    if package is None:
        yield "package", "none: no package manager, lock or source knows it"
        return
    of = {"deb": "Debian package", "rpm": "rpm package", "python": "distribution", "wheel": "compiled wheel"}
    if package.kind == "source":
        yield "source", f"{package.name} {package.url} {package.version}".strip()
    else:
        yield of.get(package.kind, package.kind), f"{package.name} {package.version}".strip()
    yield "licence", package.expression or "; ".join(package.licences) or "nothing said"
    if package.kind == "deb":
        yield "built from", f"{package.source} {package.source_version}, by {package.supplier or 'nobody named'}"
    yield from _origin(inventory, package)
    folder = next((each for each in recipe.kept if path.startswith(each + "/")), "")
    if folder:
        yield "kept from", f"stage {recipe.kept[folder]}: configurations are read from {folder}"
    reason = recipe.roles.get(package.name, "") if package.kind in ("deb", "rpm") else recipe.pins.get(package.name, "")
    if reason:
        yield "reason", reason
    graph = depends(inventory)
    names = {each.key: each.name for each in inventory.packages}
    users = sorted({names[key] for key, needed in graph.items() if package.key in needed})
    if users:
        more = f" and {len(users) - NEEDED} more" if len(users) > NEEDED else ""
        yield "needed by", ", ".join(users[:NEEDED]) + more


def _held(inventory: Inventory, path: str) -> Iterator[tuple[str, str]]:
    """Yield whose the files below a folder are, those with the most files first."""
    counted: Counter[str] = Counter()
    for each, entry in inventory.snapshot.entries.items():
        if entry.kind == "file" and each.startswith(path + "/"):
            owner = inventory.of(each)
            counted[f"{owner.kind} {owner.name}" if owner else "nobody"] += 1
    shown = [f"{count} of {name}" for name, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))]
    more = [f"and {len(shown) - NEEDED} others"] if len(shown) > NEEDED else []
    yield "holds", ", ".join([*shown[:NEEDED], *more]) or "no file"


def _origin(inventory: Inventory, package: Package) -> Iterator[tuple[str, str]]:
    """Yield where something compiled or locked is from."""
    if package.kind == "python":
        facts = dict(package.properties)
        if facts.get("lock"):
            hashes = ", ".join(f"sha256:{each}" for each in package.sha256)
            yield "locked", f"{facts['lock']}: {package.name}=={package.version} {hashes}".rstrip()
        elif facts.get("part of"):
            yield "part of", f"the distribution's package {facts['part of']}"
        else:
            yield "locked", "no: it is in no lock of the image"
        return
    source = next((each for each in inventory.packages if each.kind == "source" and each.name == package.source), None)
    if source is not None:
        file = dict(source.properties).get("file", "")
        pin = " ".join(filter(None, (source.name, source.url or file, source.version, *source.sha256[:1])))
        yield "compiled from", pin
    if package.kind in ("wheel", "interpreter", "library", "toolkit"):
        for name, value in package.properties:
            if value and name not in ("installer", "component"):
                yield name, value


def _steps(inventory: Inventory, path: str, recipe: Recipe, hunks: Hunks) -> Iterator[Applied]:
    for change in inventory.manifest.changes:
        for touched in change.files:
            if path not in _places(inventory, change, touched, recipe):
                continue
            fact = recipe.steps.get((change.stage, change.number))
            # A recipe that went on has other steps under the same numbers.
            if fact is not None and (fact.do != change.do or not change.what.endswith(posixpath.basename(fact.path))):
                fact = None
            shown = tuple(hunks(change, touched.path)) if change.do == "patch" else ()
            yield Applied(change=change, touched=touched, fact=fact, hunks=shown)


def _places(inventory: Inventory, change: Change, touched: Touched, recipe: Recipe) -> set[str]:
    """Return where in the image a file is that a step changed where it was compiled or copied from."""
    stage, config = change.stage, inventory.snapshot.config
    if stage == "tree":
        # Patches count from the model's folder, all other steps from the one above it.
        roots = {config.folder, posixpath.dirname(config.folder), f"/workspace/{inventory.manifest.model}"}
        return {posixpath.normpath(f"{root}/{touched.path}") for root in roots}
    kept = {posixpath.normpath(f"{folder}/{touched.path}") for folder, name in recipe.kept.items() if name == stage}
    component = stage.removeprefix("overlay-").removesuffix("-source")
    sites = {each.place for each in inventory.packages if dict(each.properties).get("component") == component}
    return kept | {posixpath.normpath(f"{site}/{touched.path}") for site in sites}


def _verdict(entry: Entry, package: Package | None, path: str, steps: Sequence[Applied]) -> str:
    if steps and entry.blob:
        if steps[-1].touched.after == entry.blob:
            return "the file is what the last step left"
        left = steps[-1].touched.after or "none"
        return f"the file is not what the last step left: git's id is {entry.blob}, not {left}"
    if package is not None and path in package.changed:
        return "the file is not what was installed: its hash is not the one that its package lists"
    if package is not None and package.kind in ("python", "wheel") and entry.kind == "file" and not source_of(path):
        return "the file is as it was installed"
    return ""

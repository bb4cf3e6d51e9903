"""Which images of an engine drivebuild made, which of them may go, and what that would free. It removes nothing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from builder.plan.bootstrap import MARK

__all__ = ["BASE_SPACE", "SPACE", "Candidate", "Evidence", "Held", "Kept", "Wish", "choose", "freed_bytes", "is_base"]

SPACE = "drivebuild/"
"""Where images have their names by default."""
BASE_SPACE = "localhost/drivebuild/"
"""Where the bases have theirs that drivebuild bootstraps."""
LABEL = "drivebuild."
NO_NAME = "<none>:<none>"

Evidence = Literal["name", "record", "label", "base"]
"""What says that drivebuild made an image: its name's space, the records of builds, its own last instruction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One image of the engine, as far as it matters here."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    when: float
    """Seconds since the epoch when it last got a name, or when it was made where the engine does not say."""
    newest: str
    """The last instruction of its history."""
    layers: tuple[tuple[str, int], ...]
    """What each layer is known by, with all that lies below it, and its bytes; the lowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An image of drivebuild's that stays, and why."""

    image: Held
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An image that may go."""

    image: Held
    evidence: Evidence
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the caller wants gone."""

    before: float
    """Nothing that got its name at this time or later, in seconds since the epoch."""
    keep: int = 1
    """So many of the newest of each model, platform, variant and stage stay."""
    bases: bool = False
    """Whether bases may go that no other image stands on."""


@dataclass(slots=True)
class Choice:
    """What goes and what stays of all that drivebuild made."""

    gone: list[Candidate] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)


def is_base(image: Held) -> bool:
    """Return whether an image is a base that drivebuild bootstrapped.

    One that lost its name to a newer one is known by its label, and by having one layer that no instruction made:
    what is built on it has more.
    """
    alone = MARK in image.labels and len(image.layers) == 1 and not image.newest
    return alone or any(tag.startswith(BASE_SPACE) for tag in image.tags)


def evidence_of(image: Held, recorded: Collection[str]) -> Evidence | None:
    """Return what says that drivebuild made an image; None for everybody else's.

    A label alone says little: what somebody builds on an image of drivebuild's inherits it. But there the last
    instruction is not the one that sets these labels.

    Args:
        image: any image of the engine.
        recorded: ids of all images that builds' records name.
    """
    if is_base(image):
        return "base"
    if image.id in recorded:
        return "record"
    if any(tag.startswith(SPACE) for tag in image.tags):
        return "name"
    own = any(name.startswith(LABEL) for name in image.labels)
    return "label" if own and image.newest.startswith("LABEL ") and LABEL in image.newest else None


def choose(
    images: Iterable[Held],
    wish: Wish,
    *,
    recorded: Mapping[str, Collection[str]],
    used: Mapping[str, str],
) -> Choice:
    """Return which images of drivebuild's go, and which stay and why.

    Args:
        images: all images of the engine.
        wish: what the caller wants.
        recorded: the tags that builds gave, by the ids of the images.
        used: a container's name by the id of the image that it stands on, running or not.
    """
    everything = list(images)
    choice = Choice()
    groups: dict[tuple[str, ...], list[tuple[Held, Evidence]]] = defaultdict(list)
    for image in everything:
        evidence = evidence_of(image, recorded)
        if evidence == "base":
            _choose_base(image, everything, wish, used, choice)
        elif evidence is not None:
            groups[_group(image, recorded)].append((image, evidence))
    for members in groups.values():
        # One with a name is what people run; one without was replaced by it.
        members.sort(key=lambda pair: (bool(pair[0].tags), pair[0].when), reverse=True)
        # Where none has a name, another kind of image has it now.
        first = 0 if members[0][0].tags else 1
        for place, (image, evidence) in enumerate(members, first):
            why = _stays(image, wish, recorded, used, newest=place < wish.keep)
            if why:
                choice.kept.append(Kept(image=image, why=why))
            else:
                said = "replaced by a newer build" if not image.tags else "older than was asked to keep"
                choice.gone.append(Candidate(image=image, evidence=evidence, why=said))
    return choice


def _choose_base(image: Held, everything: Sequence[Held], wish: Wish, used: Mapping[str, str], choice: Choice) -> None:
    top = image.layers[-1][0] if image.layers else ""
    upon = next(
        (each for each in everything if each.id != image.id and any(key == top for key, _ in each.layers)), None
    )
    if not wish.bases:
        choice.kept.append(Kept(image=image, why="a base; --bases would offer it"))
    elif image.id in used:
        choice.kept.append(Kept(image=image, why=f"the container {used[image.id]} stands on it"))
    elif upon is not None:
        choice.kept.append(Kept(image=image, why=f"{name_of(upon)} stands on it"))
    else:
        choice.gone.append(Candidate(image=image, evidence="base", why="no image stands on it"))


def _stays(
    image: Held, wish: Wish, recorded: Mapping[str, Collection[str]], used: Mapping[str, str], *, newest: bool
) -> str:
    foreign = [tag for tag in image.tags if not tag.startswith(SPACE) and tag not in recorded.get(image.id, ())]
    if image.id in used:
        return f"the container {used[image.id]} stands on it"
    if foreign:
        return f"somebody named it {foreign[0]}"
    if newest:
        return "the newest of its kind"
    return "too young" if image.when >= wish.before else ""


def _group(image: Held, recorded: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return what an image is one of: that of a model, platform, variant and stage."""
    tag = next((tag for tag in image.tags if tag.startswith(SPACE)), "")
    tag = tag or min(recorded.get(image.id, ()), default="")
    if tag:
        return (tag,)
    labels = image.labels
    model = labels.get("drivebuild.model", "")
    if not model:
        return (image.id,)
    # As builder/plan/stage.py names an image, so that one that lost its name is with the one that has it now.
    return (f"{SPACE}{model}:{labels.get('drivebuild.platform', '')}-{labels.get('drivebuild.variant', '')}",)


def name_of(image: Held) -> str:
    """Return what a person calls an image."""
    return image.tags[0] if image.tags else image.id.removeprefix("sha256:")[:12]


def freed_bytes(gone: Iterable[Held], everything: Iterable[Held]) -> int:
    """Return the bytes of layers that only these images have, each layer once."""
    lost = list(gone)
    ids = {image.id for image in lost}
    held = {key for image in everything if image.id not in ids for key, _ in image.layers}
    sizes = {key: size for image in lost for key, size in image.layers}
    return sum(size for key, size in sizes.items() if key not in held)


def chained(ids: Sequence[str], sizes: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Return layers by what the engine stores them as: a layer and all below it."""
    found = []
    chain = hashlib.sha256()
    for digest, size in zip(ids, sizes, strict=True):
        chain.update(digest.encode())
        found.append((chain.hexdigest(), size))
    return tuple(found)


def held_of(found: Mapping[str, Any], history: Sequence[Mapping[str, Any]], sizes: Sequence[int], when: float) -> Held:
    """Return an image from what the engine says of it: its inspection, its history, its layers' bytes."""
    config = found.get("Config") or {}
    tags = tuple(sorted(str(tag) for tag in found.get("RepoTags") or () if tag != NO_NAME))
    layers = tuple(str(layer) for layer in (found.get("RootFS") or {}).get("Layers") or ())
    newest = str(history[0].get("CreatedBy") or "") if history else ""
    return Held(
        id=str(found["Id"]),
        tags=tags,
        labels=dict(config.get("Labels") or {}),
        when=when,
        newest=newest,
        layers=chained(layers, sizes),
    )

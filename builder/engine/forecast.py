"""Which stages a build will run, said before it begins, and how that compares with what it did.

What BuildKit goes by is in builder/render/cachekeys.py, what it has in builder/engine/ledger.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from builder.engine.folders import cache_folder, trees_folder
from builder.engine.ledger import Ledger, note, read_ledger
from builder.engine.record import Difference, StageRecord
from builder.engine.state import EXPORT
from builder.errors import SourceError
from builder.plan.stage import TARGETS
from builder.render.cachekeys import Given, StageKey, cache_keys, images_named, reached

if TYPE_CHECKING:
    from builder.engine.builders import Builder
    from builder.engine.command import Choices
    from builder.engine.host import Engine, Facts, Image

__all__ = [
    "Compared",
    "Forecast",
    "builder_name",
    "compared",
    "folder_words",
    "forecast_of",
    "image_word",
    "learn",
]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOCK = 1 << 20
LOCAL = "localhost/"
"""How names begin that no registry serves: of images that drivebuild makes itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is known of a build before it begins."""

    builder: str
    given: Given
    keys: Mapping[str, StageKey]
    stages: tuple[str, ...]
    """All that the target needs, in the text's order."""
    predicted: tuple[str, ...] | None
    """Those of them that will run; None when nothing is known of the builder's cache."""
    architecture: str
    """What is built for, as recipes spell it."""
    machine: str
    """The builder's own architecture, where it is another."""
    imports: bool
    """Whether the build may take steps from a cache that others filled."""
    bases: Mapping[str, str]
    """Ids of the images that it stands on, as far as the engine has them."""
    ledger: Ledger

    def likely(self) -> tuple[str, ...]:
        """Return what will run; where nothing is known of the cache, all that could."""
        if self.predicted is not None:
            return self.predicted
        return _distinct(self.keys, (name for name in self.stages if self.keys[name].works))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a build did, against what was predicted."""

    executed: tuple[str, ...]
    differences: tuple[Difference, ...]


def builder_name(facts: Facts, chosen: Builder | None = None) -> str:
    """Return whose cache a build goes through: a builder by its name, or the engine's own BuildKit by the engine's."""
    if chosen is not None and chosen.elsewhere:
        return chosen.name
    return f"{os.environ.get('BUILDX_BUILDER') or 'default'}@{facts.id}"


def forecast_of(dockerfile: str, choices: Choices, target: str, *, engine: Engine, facts: Facts) -> Forecast:
    """Return what a build will run.

    Raises:
        SourceError: when a folder that stands for a stage cannot be read.
    """
    builder = builder_name(facts, choices.builder)
    ledger = read_ledger(builder)
    images = _images(dockerfile, choices, engine)
    given = _given(choices, facts, {name: image_word(image) for name, image in images.items()}, ledger)
    keys = cache_keys(dockerfile, given)
    stages = reached(keys, target)
    predicted: tuple[str, ...] | None = None
    if ledger is not None or choices.no_cache:
        seen: Collection[str] = () if choices.no_cache or ledger is None else ledger.seen
        new = (name for name in stages if keys[name].works and (keys[name].key not in seen or name in choices.again))
        predicted = _distinct(keys, new)
    return Forecast(
        builder=builder,
        given=given,
        keys=keys,
        stages=stages,
        predicted=predicted,
        architecture=choices.architecture(facts),
        machine=choices.machine(facts) if choices.target else "",
        imports=bool(choices.cache_from),
        bases={name: image.id for name, image in images.items()},
        ledger=ledger or Ledger(),
    )


def _given(choices: Choices, facts: Facts, images: Mapping[str, str], ledger: Ledger | None) -> Given:
    """Return what a build is given beside its text."""
    return Given(
        images=images,
        contexts=_contexts(choices),
        arguments=dict(choices.arguments),
        architecture=TARGETS.get(choices.architecture(facts), choices.architecture(facts)),
        offline=choices.offline,
        same=ledger.same if ledger else {},
    )


def _contexts(choices: Choices) -> dict[str, str]:
    """Return a word for the content of each folder that stands for a stage.

    Folders that drivebuild made are named after their content, and commits after the commit.

    Raises:
        SourceError: when a user's folder cannot be read.
    """
    return folder_words(choices.folders)


def folder_words(folders: Mapping[str, Path]) -> dict[str, str]:
    """Return a word for the content of each folder, by the stage it stands for.

    Raises:
        SourceError: when a user's folder cannot be read.
    """
    return {stage: _word(stage, folder) for stage, folder in folders.items()}


def image_word(image: Image) -> str:
    """Return a word for what BuildKit sees of an image: its layers and its settings. An id changes without either."""
    settings = {key: image.config.get(key) for key in ("Env", "WorkingDir", "User", "Shell")}
    return hashlib.sha256(json.dumps([image.layers, settings], sort_keys=True).encode()).hexdigest()


def compared(forecast: Forecast, stages: Iterable[StageRecord], meanwhile: Ledger | None = None) -> Compared:
    """Return what a build that succeeded did, against its forecast; `meanwhile`: what is known by now."""
    known, keys = forecast.ledger.seen, forecast.keys
    executed = tuple(
        stage.name
        for stage in stages
        if stage.state == "done"
        and stage.name in keys
        and not (keys[stage.name].fetches and keys[stage.name].key in known)
    )
    if forecast.predicted is None:
        return Compared(executed=executed, differences=())
    # Two stages with the same steps are one to BuildKit, which shows them under one name.
    ran, said = {keys[name].key for name in executed}, {keys[name].key for name in forecast.predicted}
    reasons: dict[str, str] = {}
    found: list[Difference] = []
    for name in forecast.stages:
        item = keys[name]
        if item.works and item.key in said - ran:
            again = [need for need in item.needs if need in executed or reasons.get(need) == "content"]
            reasons[name] = "content" if again else "elsewhere"
            if not again and meanwhile and item.key in meanwhile.seen:
                text = "another build here made it meanwhile"
                found.append(Difference(stage=name, did="cached", reason="shared", text=text))
            else:
                found.append(_not_run(name, again, imports=forecast.imports))
        elif name in executed and item.key not in said:
            changed = [need for need in item.needs if need in executed]
            found.append(_run(name, changed))
    return Compared(executed=executed, differences=tuple(found))


def learn(forecast: Forecast, stages: Iterable[StageRecord], differences: Iterable[Difference]) -> None:
    """Keep what a build has shown of the builder's cache.

    Raises:
        BuildError: when the state folder cannot be written.
    """
    had = {stage.name for stage in stages if stage.state in ("done", "cached") and stage.name != EXPORT}
    keys = [forecast.keys[name] for name in forecast.stages if name in had]
    equal = [forecast.keys[item.stage] for item in differences if item.reason == "content"]
    note(forecast.builder, keys, dict(pair for item in equal for pair in _shown(item, forecast.ledger)))


def _shown(item: StageKey, ledger: Ledger) -> Iterable[tuple[str, str]]:
    """Yield contents that a step found in the cache has shown to be equal to older ones.

    Only where one older step can have been found: of several, nobody knows which one it was.
    """
    older = [
        seen.contents
        for seen in ledger.seen.values()
        if (seen.own, seen.foundation, len(seen.contents)) == (item.own, item.foundation, len(item.contents))
    ]
    if len(set(older)) == 1:
        yield from ((new, old) for new, old in zip(item.contents, older[0], strict=True) if new != old)


def _not_run(name: str, again: list[str], *, imports: bool) -> Difference:
    reason: Literal["content", "elsewhere"] = "content" if again else "elsewhere"
    text = "the builder had it already, from a build of which there is no record here"
    if imports:
        text = "it came from a cache that the build was told to read, or from a build without a record here"
    if again:
        text = f"what {' and '.join(again)} made anew has the same bytes as before"
    return Difference(stage=name, did="cached", reason=reason, text=text)


def _run(name: str, changed: list[str]) -> Difference:
    text = "the builder's cache no longer had it"
    if changed:
        text += f"; {' and '.join(changed)} ran as well"
    return Difference(stage=name, did="run", reason="evicted", text=text)


def _distinct(keys: Mapping[str, StageKey], names: Iterable[str]) -> tuple[str, ...]:
    """Return the names without those whose steps an earlier one has as well."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(keys[name].key, name)
    return tuple(first.values())


def _images(dockerfile: str, choices: Choices, engine: Engine) -> dict[str, Image]:
    """Return the images that the text names without a digest, as far as the engine has them."""
    # What stands for an image is the engine's own, such as the base of a foreign architecture, or a mirror's.
    instead = dict(choices.images)
    places = {name: instead.get(name, name) for name in images_named(dockerfile) if "@" not in name}
    own = {name: place for name, place in places.items() if place == name or place.startswith(LOCAL)}
    found = ((name, engine.image(place)) for name, place in own.items())
    return {name: image for name, image in found if image is not None}


def _word(stage: str, folder: Path) -> str:
    # Folders that drivebuild made are named after their content: in the cache, or on the store's own disk.
    made = folder.parent in (trees_folder(), cache_folder() / "contexts") or folder.parts[-3:-1] == (
        "partial",
        "contexts",
    )
    if made and _COMMIT.fullmatch(folder.name):
        return f"git:{folder.name}"
    if made and re.fullmatch(rf"{re.escape(stage)}-[0-9a-f]{{16}}", folder.name):
        return f"store:{folder.name}"
    return f"folder:{_fingerprint(folder)}"


def _fingerprint(folder: Path) -> str:
    """Return a digest of a folder's files: names, modes, links and contents, as BuildKit compares them."""
    whole = hashlib.sha256()
    try:
        for path in sorted(_paths(folder)):
            facts = path.lstat()
            line = f"\0{path.relative_to(folder).as_posix()}\0{stat.S_IFMT(facts.st_mode)}\0"
            if stat.S_ISLNK(facts.st_mode):
                line += str(path.readlink())
            else:
                line += f"{stat.S_IMODE(facts.st_mode):o} {facts.st_size}"
            whole.update(line.encode("utf-8", "surrogateescape"))
            if stat.S_ISREG(facts.st_mode):
                with path.open("rb") as file:
                    while block := file.read(_BLOCK):
                        whole.update(block)
    except OSError as error:
        raise SourceError(f"{error.filename}: {error.strerror}") from error
    return whole.hexdigest()


def _paths(folder: Path) -> Iterable[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        yield from (Path(place) / name for name in (*folders, *files))

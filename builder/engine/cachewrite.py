"""A cache into a registry, and a look at what BuildKit has written.

BuildKit 0.13 loses results of a cache that it reads and writes again; 0.26 was not seen to. It has several keys for a
step, some from its own cache and some from the one it reads, and writes what it has by those that happen to come
first; by its own it does not have what it only knows of and has not fetched (0.25 has that part made anew:
moby/buildkit#6129). It says nothing of it, so what it wrote is compared with what it read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from builder.engine.cachegraph import CONFIG, CacheGraph, Lost, holds_all, lost_results
from builder.engine.command import Choices, build_command, build_files, from_cache, target_of
from builder.engine.push import Way
from builder.engine.registry import Reference, reference, refused
from builder.errors import BuildError, UsageError
from builder.patience import RefusedError
from builder.plan.stage import Plan

__all__ = ["FETCH", "export_cache", "fetching"]

AGAIN = (True, False)
"""What was read is fetched, and the cache written again while the caches are read, and once more without them: with all
of it here nothing runs, and there are no other keys than the builder's own."""
LOOKS = 2
"""How often a registry is asked for what it holds."""
_DECODER = msgspec.json.Decoder(CacheGraph)
FETCH = "drivebuild-fetch"
"""The stage that needs every other one."""


def export_cache(
    plan: Plan, dockerfile: str, choices: Choices, places: tuple[str, ...], *, way: Way
) -> tuple[tuple[str, str], ...]:
    """Write the cache of what a build with the same choices has just made; return what to know of which place.

    A step of its own, after the build: a registry's fault costs no image, and only the writing is tried again.

    Raises:
        BuildError: when it cannot be written; the image is there all the same.
    """
    writing = _Writing(plan, dockerfile, from_cache(choices), way)
    return tuple((place, note) for place in places if (note := writing.to(place)))


def fetching(dockerfile: str, stages: tuple[str, ...]) -> str:
    """Return a Dockerfile with a stage for which BuildKit has to have the files of all those stages here.

    It copies nothing: a pattern may fit no file.
    """
    copies = "".join(f"COPY --from={name} /{FETCH}-none* /\n" for name in stages)
    return f"{dockerfile.rstrip()}\n\nFROM scratch AS {FETCH}\n{copies}"


@dataclass(frozen=True, slots=True)
class _Held:
    """A cache as the registry has it."""

    place: Reference
    digest: str
    graph: CacheGraph
    sizes: Mapping[str, int]
    single: bool
    """Whether it is a manifest, and no index."""


class _Writing:
    """The caches of one build."""

    def __init__(self, plan: Plan, dockerfile: str, choices: Choices, way: Way) -> None:
        self._plan, self._dockerfile, self._way = plan, dockerfile, way
        # What cannot be reached from here may well be from the builder, and nobody is to wait long to learn that.
        self._tools = replace(way.tools(choices), patience=replace(way.patience, tries=min(LOOKS, way.patience.tries)))
        self._blind = ""
        """Why nothing can be looked at."""
        self._pins: dict[str, str] = {}
        self._read: tuple[_Held, ...] | None = None
        self._choices = choices

    def to(self, place: str) -> str:
        """Write one; return what to know of it.

        Raises:
            BuildError: when it cannot be written.
        """
        target = _in_registry(place)
        if target is not None and not self._pins:
            # By their digests: one of them is what is written now.
            self._choices = replace(self._choices, cache_from=tuple(map(self._pinned, self._choices.cache_from)))
        try:
            digest = self._export(place)
        except RefusedError as error:
            host = target.host if target else "the cache"
            raise refused(f"the image is built; its cache could not be written to {place}", str(error), host) from error
        if target is None or not any(_in_registry(word) for word in self._choices.cache_from):
            return ""
        if not self._blind:
            try:
                return self._mended(place, target, digest)
            except BuildError as error:
                self._blind = error.message
        return f"whether cache {target} has all that was read is not known: {self._blind.splitlines()[0]}"

    def _mended(self, place: str, target: Reference, digest: str) -> str:
        written = self._look(target, digest)
        lost = self._lost(written)
        why = ""
        if lost and self._put_back(target, written, lost):
            return ""
        for reads in AGAIN:
            if not lost or why:
                break
            said = f"{target}: BuildKit wrote it without {_results(len(lost))} that it had read"
            self._way.say(f"{said}; those are fetched, and it is written again")
            try:
                self._fetch()
                written = self._look(target, self._export(place, reads=reads))
            except (RefusedError, BuildError) as error:
                why = f" ({str(error).strip().splitlines()[-1]})"
            else:
                lost = self._lost(written)
        if not lost:
            return ""
        sizes = {blob: size for held in self._read or () for blob, size in held.sizes.items()}
        size = sum(sizes.get(each.blob, 0) for each in lost) / 1e6
        was = self._before(target)
        before = f"; what it was before is {target.at(was.digest)}" if was and was.digest else ""
        what = f"cache {target} lacks {_results(len(lost))} of what was read, {size:.1f} MB{why}"
        return f"{what}: who reads it runs those steps again{before}"

    def _put_back(self, target: Reference, written: _Held, lost: tuple[Lost, ...]) -> bool:
        """Let a name stand for what it did before, where that has all that is wanted of it."""
        before = self._before(target)
        if before is None or not before.single or not self._tools.keeps_single():
            return False
        if len(lost_results((before.graph,), written.graph)) < len(lost) or not holds_all(before.graph, written.graph):
            return False
        self._tools.name((target,), (target.at(before.digest),), one=True)
        text = self._tools.raw(target) or ""
        if _digest_of(text) != before.digest:
            return False
        self._way.say(f"{target}: it has all of this build already, and stays what it was")
        return True

    def _before(self, target: Reference) -> _Held | None:
        """Return what a name stood for when the caches were read, if it was one of them."""
        return next((held for held in self._read or () if _same_place(held.place, target)), None)

    def _lost(self, written: _Held) -> tuple[Lost, ...]:
        if not written.graph.holes:
            return ()
        if self._read is None:
            self._read = tuple(self._held())
        return lost_results([held.graph for held in self._read], written.graph)

    def _held(self) -> Iterator[_Held]:
        """Yield the caches that were read; what cannot be looked at has nothing that could be missed."""
        for word in self._choices.cache_from:
            place = _in_registry(word)
            if place is not None and place.digest:
                with suppress(BuildError):
                    tagged = self._pins[word]
                    yield replace(self._look(place, place.digest), place=reference(tagged, option="--cache-from"))

    def _export(self, place: str, *, reads: bool = True) -> str:
        """Write it; return the digest."""
        choices = self._choices if reads else replace(self._choices, cache_from=())
        match = re.search(r"(?:^|,)ref=([^,/]+)", place)
        with build_files(self._dockerfile, choices) as folder:
            command = build_command(self._plan, choices, folder=folder, output="type=cacheonly", cache_to=(place,))
            self._way.patiently(command, match[1] if match else "the cache", choices.environment)
            return _digest(folder)

    def _fetch(self) -> None:
        """Let the builder have all of what was read, and not only know of it."""
        target = target_of(self._plan, self._choices.until)
        stages = tuple(name for name in self._plan.closure(target) if name not in self._choices.folders)
        with build_files(fetching(self._dockerfile, stages), self._choices) as folder:
            command = list(build_command(self._plan, self._choices, folder=folder, output="type=cacheonly"))
            command[command.index("--target") + 1] = FETCH
            self._way.patiently(tuple(command), "the cache", self._choices.environment)

    def _pinned(self, word: str) -> str:
        place = _in_registry(word)
        if place is None or place.digest or self._blind:
            return word
        try:
            text = self._tools.raw(place)
        except BuildError as error:
            self._blind = error.message
            return word
        if text is None:
            return word
        pinned = place.at(_digest_of(text))
        found = re.sub(r"((?:^|,)ref=)[^,]*", rf"\g<1>{pinned}", word)
        self._pins[found] = str(place)
        return found

    def _look(self, place: Reference, digest: str) -> _Held:
        """Return what is under a digest of a repository, or under the name where none is known.

        Raises:
            BuildError: when it is no cache, or cannot be looked at.
        """
        exact = Reference(place.repository, digest=digest) if digest else place
        text = self._tools.raw(exact)
        try:
            manifest = json.loads(text or "{}")
            parts = (manifest.get("config"), *(manifest.get("manifests") or ()))
            config = next(part for part in parts if part and part["mediaType"] == CONFIG)
            described = self._tools.raw(Reference(place.repository, digest=config["digest"]))
            graph = _DECODER.decode(described or "")
            layers = (*(manifest.get("layers") or ()), *(manifest.get("manifests") or ()))
            sizes = {str(layer["digest"]): int(layer["size"]) for layer in layers}
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration, msgspec.MsgspecError) as error:
            raise BuildError(f"{exact}: no cache that can be read ({error!r})") from error
        return _Held(place, digest, graph, sizes, single="layers" in manifest)


def _in_registry(word: str) -> Reference | None:
    """Return the place in a registry that BuildKit's words for a cache name, if they name one."""
    fields = dict(field.partition("=")[::2] for field in word.split(","))
    if fields.get("type") != "registry":
        return None
    try:
        return reference(fields.get("ref", ""), option="a cache")
    except UsageError:
        # Without a host: one of the engine's own mirrors, or of Docker Hub.
        return None


def _same_place(one: Reference, other: Reference) -> bool:
    return (one.repository, one.tag or "latest") == (other.repository, other.tag or "latest")


def _digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _digest(folder: Path) -> str:
    """Return the digest of the manifest that an export has written; '' where this buildx does not say."""
    try:
        said = json.loads((folder / "metadata.json").read_bytes())
        return str(json.loads(said["cache.manifest"])["digest"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _results(number: int) -> str:
    return "1 result" if number == 1 else f"{number} results"

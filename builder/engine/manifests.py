"""What a registry has under a name, and other names for it, through `docker buildx imagetools`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.engine.host import INSTALL
from builder.engine.process import Argv, CommandMissingError, Runner
from builder.engine.registry import RECIPE, Reference, patience_asked, refused, trusting
from builder.errors import BuildError
from builder.patience import PATIENCE, Patience, RefusedError, Say, patiently

__all__ = ["Config", "Found", "Tools", "identity"]

_FORMAT = '{"manifest":{{json .Manifest}},"image":{{json .Image}}}'
_ABSENT = re.compile(r"ERROR: \S+: not found|manifest unknown|name unknown|NAME_UNKNOWN")
_INDEX = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One image, as its configuration says."""

    architecture: str
    """As registries call it: amd64, arm64."""
    identity: str
    labels: Mapping[str, str]

    @property
    def recipe(self) -> str:
        """The hash of the recipe it was built from; empty where the image does not say."""
        return self.labels.get(RECIPE, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a name stands for in the registry just now."""

    digest: str
    index: bool
    """Whether it is a list of images, for architectures and attestations, and not one image."""
    images: tuple[Config, ...]

    @property
    def contents(self) -> frozenset[tuple[str, str]]:
        """What the images are, whatever their layers are packed as, and whatever is attested beside them."""
        return frozenset((image.architecture, image.identity) for image in self.images)


def identity(layers: tuple[str, ...], config: Mapping[str, Any]) -> str:
    """Return a sha256 of what an image is: its layers unpacked, and how it starts.

    An engine and a registry have other ids for one image, as it is packed; this is the same in both.
    """
    lists = [list(config.get(key) or ()) for key in ("Env", "Entrypoint", "Cmd")]
    words = [str(config.get(key) or "") for key in ("User", "WorkingDir")]
    text = json.dumps([list(layers), *lists, *words, dict(config.get("Labels") or {})], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """`docker buildx imagetools`: with the credentials of docker's configuration, which nothing here reads."""

    runner: Runner
    builder: str = ""
    """Whose certificates of registries are used, too."""
    patience: Patience = PATIENCE
    say: Say = lambda _line: None

    def look(self, place: Reference) -> Found | None:
        """Return what a name stands for, or None when the registry has nothing of that name.

        Raises:
            BuildError: when the registry refuses or cannot be reached.
        """
        try:
            said = self._run(("inspect", str(place), "--format", _FORMAT), place)
        except RefusedError as error:
            if _ABSENT.search(str(error)):
                return None
            raise refused(f"{place} could not be looked up", str(error), place.host, where="this machine") from error
        try:
            return _found(json.loads(said))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BuildError(f"{place}: no image that this buildx can read ({error!r})") from error

    def raw(self, place: Reference) -> str | None:
        """Return the text of a manifest, or of what else is text under a digest; None when the registry has none.

        To the letter, for whoever wants its digest.

        Raises:
            BuildError: when the registry refuses or cannot be reached.
        """
        try:
            return self._run(("inspect", "--raw", str(place)), place, exact=True)
        except RefusedError as error:
            if _ABSENT.search(str(error)):
                return None
            raise refused(f"{place} could not be looked up", str(error), place.host, where="this machine") from error

    def name(self, new: tuple[Reference, ...], sources: tuple[str, ...], *, one: bool = False) -> None:
        """Give what `sources` are, names with digests, new names; what a repository lacks is copied there.

        `one` says that the source is one image and not an index: it stays one where buildx knows how.

        Raises:
            BuildError: when a registry refuses or cannot be reached.
        """
        alone = ("--prefer-index=false",) if one and self.keeps_single() else ()
        tags = tuple(word for each in new for word in ("--tag", each.name))
        try:
            hosts = (source.partition("/")[0] for source in sources)
            self._run(("create", "--progress=plain", *alone, *tags, *sources), new[0], *hosts)
        except RefusedError as error:
            names = ", ".join(each.name for each in new)
            raise refused(f"{names} could not be written", str(error), new[0].host, where="this machine") from error

    def keeps_single(self) -> bool:
        """Return whether this buildx can give a manifest another name without making an index of it."""
        return "--prefer-index" in self.runner.run(("docker", "buildx", "imagetools", "create", "--help")).text

    def _run(self, words: tuple[str, ...], place: Reference, *hosts: str, exact: bool = False) -> str:
        where = ("--builder", self.builder) if self.builder else ()
        command: Argv = ("docker", "buildx", "imagetools", words[0], *where, *words[1:])

        def once() -> str:
            try:
                with trusting(place.host, *hosts) as environment:
                    done = self.runner.run(command, env=environment or None)
            except CommandMissingError as error:
                raise BuildError(error.message, hint=INSTALL) from error
            if done.code != 0:
                raise RefusedError(done.complaint or done.text)
            return done.stdout.decode("utf-8", "replace") if exact else done.text

        return patiently(
            once, about=place.host, patience=self.patience, say=self.say, ask=lambda: patience_asked(place.host)
        )


def _found(said: Mapping[str, Any]) -> Found:
    manifest, images = said["manifest"], said["image"] or {}
    configs = [images] if "architecture" in images else list(images.values())
    return Found(
        digest=str(manifest["digest"]),
        index=manifest["mediaType"] in _INDEX,
        images=tuple(_config(each) for each in configs if each.get("architecture") not in (None, "", "unknown")),
    )


def _config(image: Mapping[str, Any]) -> Config:
    config = image.get("config") or {}
    layers = tuple((image.get("rootfs") or {}).get("diff_ids") or ())
    return Config(
        architecture=str(image["architecture"]),
        identity=identity(layers, config),
        labels=dict(config.get("Labels") or {}),
    )

"""Builders that are not this engine's own BuildKit, and what they cannot see of it: its images."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from builder.engine.folders import cache_folder, make_folder
from builder.engine.host import INSTALL, Engine
from builder.engine.process import CommandMissingError, Runner
from builder.errors import BuildError, UsageError
from builder.recipe.suggest import one_of

__all__ = ["Builder", "base_layout", "builder_of", "chosen_builder", "find_builder", "parse_builder"]

_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_STARTED = ("docker-container", "kubernetes")
"""Drivers that start their BuildKit when it is wanted."""
_BLOB = re.compile(r"blobs/sha256/(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """One of `docker buildx ls`."""

    name: str
    driver: str
    status: str = ""
    architectures: tuple[str, ...] = ()
    """Those it can build for, its own first; empty for a builder that has not been started yet."""
    buildkit: str = ""
    """The version of its BuildKit, as far as it says."""

    @property
    def elsewhere(self) -> bool:
        """Whether it has other images and another cache than the engine."""
        return self.driver != "docker"


def find_builder(name: str, runner: Runner) -> Builder:
    """Return the builder of a name.

    Raises:
        UsageError: when there is none; naming those that there are.
        BuildError: when buildx is missing, or a remote builder does not answer.
    """
    try:
        said = runner.run(("docker", "buildx", "inspect", name))
    except CommandMissingError as error:
        raise BuildError(error.message, hint=INSTALL) from error
    if said.code != 0:
        known = _names(runner)
        raise UsageError(
            f"--builder: there is no builder {name!r}", hint=one_of(name, known) or "`docker buildx create`"
        )
    found = parse_builder(said.text)
    if found.driver in _STARTED and found.status != "running":
        found = _started(found, runner)
    if found.driver == "remote" and found.status != "running":
        message = f"builder {found.name}: no BuildKit answers at {_endpoint(said.text)}"
        hint = f"is buildkitd running there, and do its certificates fit? `docker buildx inspect {found.name}`"
        raise BuildError(message, hint=hint)
    return found


def chosen_builder(runner: Runner, environment: Mapping[str, str]) -> Builder | None:
    """Return the builder that `docker buildx use` or BUILDX_BUILDER chose, if it is another than the engine's own.

    Raises:
        UsageError, BuildError: as `find_builder`.
    """
    named = environment.get("BUILDX_BUILDER", "")
    if not named:
        docker = environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or "/", ".docker")
        if not Path(environment.get("BUILDX_CONFIG") or Path(docker, "buildx"), "current").exists():
            # Nothing was ever chosen: this spares most builds a process.
            return None
        said = runner.run(("docker", "buildx", "inspect"))
        named = parse_builder(said.text).name if said.code == 0 else ""
    found = find_builder(named, runner) if named else None
    return found if found and found.elsewhere else None


def builder_of(name: str, runner: Runner) -> Builder | None:
    """Return the builder of a name, or the one that buildx takes by itself, if it is another than the engine's own.

    Raises:
        UsageError, BuildError: as `find_builder`.
    """
    return find_builder(name, runner) if name else chosen_builder(runner, os.environ)


def _started(found: Builder, runner: Runner) -> Builder:
    """Start a builder, as a build would: only a running one says for which architectures it is.

    Raises:
        BuildError: when it does not start.
    """
    said = runner.run(("docker", "buildx", "inspect", "--bootstrap", found.name))
    made = parse_builder(said.text)
    if said.code != 0 or made.status != "running":
        tail = "".join(f"\n  | {line}" for line in said.complaint.splitlines()[-5:])
        hint = f"`docker buildx inspect --bootstrap {found.name}` shows why"
        raise BuildError(f"builder {found.name}, of the driver {found.driver}, does not start{tail}", hint=hint)
    return made


def parse_builder(text: str) -> Builder:
    """Read what `docker buildx inspect` prints: of the builder its driver, of its first node the rest."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key.strip().lower(), value.strip())
    # `linux/amd64*`: one that the user chose when the builder was made.
    listed = (platform.strip().rstrip("*") for platform in values.get("platforms", "").split(","))
    return Builder(
        name=values.get("name", ""),
        driver=values.get("driver", ""),
        status=values.get("status", ""),
        buildkit=values.get("buildkit version", values.get("buildkit", "")),
        architectures=tuple(dict.fromkeys(_MACHINES[each] for each in listed if each in _MACHINES)),
    )


def _endpoint(text: str) -> str:
    match = re.search(r"^Endpoint:\s*(\S+)", text, re.MULTILINE)
    return match[1] if match else "its address"


def _names(runner: Runner) -> tuple[str, ...]:
    """Return the names that begin lines of `docker buildx ls`; lines of nodes are indented."""
    lines = runner.run(("docker", "buildx", "ls")).text.splitlines()[1:]
    return tuple(line.split()[0].rstrip("*") for line in lines if line[:1].strip() and line.split())


def base_layout(engine: Engine, image: str) -> str:
    """Return an image of the engine as BuildKit's build context, for a builder that does not see the engine's images.

    It is an OCI layout in the cache folder, by the image's id: the builder asks for the blobs that it does not have.

    Raises:
        BuildError: when the engine does not have the image, or cannot write it as such a layout.
    """
    there = engine.image(image)
    if there is None:
        raise BuildError(f"the engine has no image {image}", hint="`drivebuild base PLATFORM` makes a platform's base")
    folder = make_folder(cache_folder() / "bases") / there.id.removeprefix("sha256:")
    if not (folder / "index.json").is_file():
        _write(engine.save(image), folder, image)
    return f"oci-layout://{folder}@{_digest(folder, image)}"


def _write(pieces: Iterable[bytes], folder: Path, image: str) -> None:
    """Unpack what `docker save` says into a folder that appears at once, or not at all."""
    beside = Path(tempfile.mkdtemp(prefix=".layout-", dir=folder.parent))
    try:
        (beside / "blobs/sha256").mkdir(parents=True)
        with tarfile.open(fileobj=cast("IO[bytes]", _Stream(iter(pieces))), mode="r|") as tar:
            for member in tar:
                opened = tar.extractfile(member) if member.isfile() else None
                if opened is not None:
                    _take(member.name, opened, beside, image)
        if not (beside / "index.json").is_file():
            hint = (
                "engines from 25 on can; or push the base to a registry, and name it in `registries` (docs/offline.md)"
            )
            raise BuildError(f"this engine does not save {image} as an OCI layout", hint=hint)
        _check_whole(beside, json.loads((beside / "index.json").read_bytes()))
        beside.rename(folder)
    except (OSError, tarfile.TarError, ValueError, LookupError, TypeError, AttributeError) as error:
        if (folder / "index.json").is_file():
            # Another drivebuild was quicker: what it wrote is the same.
            return
        hint = "XDG_CACHE_HOME names another place for caches" if isinstance(error, OSError) else ""
        raise BuildError(f"{image} could not be saved to {folder}: {error}", hint=hint) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_whole(folder: Path, document: Mapping[str, Any]) -> None:
    """Look whether all that an index or a manifest names is there: a tar that breaks off ends like one that is whole.

    Raises:
        LookupError: naming what is not there.
    """
    for part in (document.get("config"), *document.get("layers", ()), *document.get("manifests", ())):
        if part is None:
            continue
        path = folder / "blobs/sha256" / str(part["digest"]).removeprefix("sha256:")
        if not path.is_file() or path.stat().st_size != part["size"]:
            raise LookupError(f"the engine left out {part['digest']}")
        if part["mediaType"].endswith((".manifest.v1+json", ".index.v1+json")):
            _check_whole(folder, json.loads(path.read_bytes()))


def _take(name: str, opened: IO[bytes], folder: Path, image: str) -> None:
    """Write one member, if it belongs into a layout. Names come from a known few: none leads out of the folder."""
    match = _BLOB.fullmatch(name)
    if name in ("index.json", "oci-layout"):
        (folder / name).write_bytes(opened.read(1 << 20))
    elif match:
        found = hashlib.sha256()
        with (folder / name).open("wb") as file:
            while piece := opened.read(1 << 20):
                found.update(piece)
                file.write(piece)
        if found.hexdigest() != match["digest"]:
            raise BuildError(f"the engine saved {image} with a blob that is not what its name says: {name}")


def _digest(folder: Path, image: str) -> str:
    try:
        (manifest,) = json.loads((folder / "index.json").read_bytes())["manifests"]
        return str(manifest["digest"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BuildError(f"{folder}: no OCI layout of {image}", hint="remove the folder and try again") from error


class _Stream:
    """Pieces as the file that tarfile reads from front to back."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return as many bytes, fewer only at the end."""
        parts, wanted = [], size
        while wanted > 0:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            part, self._rest = self._rest[:wanted], self._rest[wanted:]
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

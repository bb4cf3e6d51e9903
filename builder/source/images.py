"""Base images as files: what the engine has, as `docker save` writes it; else what the registry or mmdebstrap gives."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Protocol

from builder.errors import SourceError
from builder.patience import PATIENCE, RefusedError, patiently
from builder.plan.bootstrap import MARK, bootstrap_mark, bootstrap_words
from builder.recipe.types import Bootstrap
from builder.source.disk import digest
from builder.source.runs import Runner, Stop, env_words, finished, follow
from builder.source.system import CLOCK, Installed, bootstrap_failure, machine

if TYPE_CHECKING:
    from builder.source.store import Entry, Store

__all__ = ["IMPORT", "Image", "fetch_image", "installed_in", "layers_of"]

PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
IMPORT, LOAD = "docker import", "docker load"
"""How an entry's note begins: what makes an image of the tar again."""
_STATUS = "var/lib/dpkg/status"
_APT = "etc/apt/"


class Image(Protocol):
    """A base image; `ImageNeed` is one."""

    @property
    def key(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def digest(self) -> str | None: ...
    @property
    def bootstrap(self) -> Bootstrap | None: ...
    @property
    def architecture(self) -> str: ...


def fetch_image(
    wanted: Image,
    *,
    store: Store,
    runner: Runner,
    mirror: str = "",
    registry: Callable[[str], str] = str,
    environment: Mapping[str, str],
    stop: Stop,
) -> Entry:
    """Put a base image into the store, as a tar for what its note begins with, `docker load` or `docker import`.

    An image that the engine has is taken as it is: then a base that mmdebstrap made some weeks ago is the same
    offline as online.

    Raises:
        SourceError: when it cannot be had.
    """
    reference = f"{wanted.image}@{wanted.digest}" if wanted.digest else wanted.image
    with store.lock(wanted.key, stop=stop):
        # Another drivebuild may have been at it while this one waited; a second `docker save` has other bytes.
        there = store.find(wanted.key)
        if there:
            return there
        scratch = store.partial(wanted.key)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        target = scratch / "image.tar"
        try:
            identity = _present(reference, wanted.architecture, runner, wanted.bootstrap)
            if not identity and wanted.bootstrap:
                _bootstrap(wanted, wanted.bootstrap, target, runner, mirror, environment, stop)
                origin, note = f"mmdebstrap {wanted.bootstrap.suite}", IMPORT
            else:
                identity = identity or _pulled(wanted, reference, registry, runner, stop)
                _docker(runner, stop, "save", "--output", str(target), _saved_as(reference, identity, runner))
                origin, note = f"docker save {reference}", f"{LOAD}; {identity}"
            file = f"{PurePosixPath(wanted.image.partition(':')[0]).name}-{machine(wanted.architecture)}.tar"
            return store.add(wanted.key, target, file=file, origin=origin, sha256=digest(target), note=note)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _present(reference: str, architecture: str, runner: Runner, how: Bootstrap | None = None) -> str:
    """Return the id of the engine's image of that name and architecture, or nothing; without an engine it has none.

    One that mmdebstrap made must have been made as `how` says.
    """
    mark = f'{{{{index .Config.Labels "{MARK}"}}}}' if how else ""
    words = ("docker", "image", "inspect", "--format", f"{{{{.Id}}}} {{{{.Architecture}}}} {mark}".strip(), reference)
    try:
        done = finished(runner, words)
    except SourceError:
        return ""
    identity, _, found = done.stdout.decode().strip().partition(" ")
    expected = f"{machine(architecture)} {bootstrap_mark(how)}" if how else machine(architecture)
    return identity if done.code == 0 and found == expected else ""


def _pulled(wanted: Image, reference: str, registry: Callable[[str], str], runner: Runner, stop: Stop) -> str:
    """Have the engine pull an image, from the mirror where there is one; return its id."""
    place = registry(reference)
    _pull(place, PLATFORMS.get(wanted.architecture, wanted.architecture), runner, stop)
    if place != reference and not wanted.digest:
        _docker(runner, stop, "tag", place, reference)
    identity = _present(place, wanted.architecture, runner)
    if not identity:
        raise SourceError(f"{place}: the registry has it, but not for {wanted.architecture}")
    return identity


def _pull(place: str, platform: str, runner: Runner, stop: Stop) -> None:
    """Pull, again while the registry's fault is one that passes."""
    failed: list[SourceError] = []

    def once() -> None:
        try:
            _docker(runner, stop, "pull", "--platform", platform, place)
        except SourceError as error:
            failed[:] = [error]
            raise RefusedError(error.message) from error

    try:
        patiently(once, about=place, patience=replace(PATIENCE, sleep=lambda seconds: _wait(seconds, stop)))
    except RefusedError as error:
        raise SourceError(str(error), hint=failed[0].hint) from error


def _wait(seconds: float, stop: Stop) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if stop():
            raise SourceError("interrupted")
        time.sleep(0.1)


def _saved_as(reference: str, identity: str, runner: Runner) -> str:
    """Return the name to save under: with its name in the tar, `docker load` gives it that again."""
    if "@" in reference:
        tagged = reference.partition("@")[0]
        found = finished(runner, ("docker", "image", "inspect", "--format", "{{.Id}}", tagged))
        return tagged if found.code == 0 and found.stdout.decode().strip() == identity else identity
    return reference


def _docker(runner: Runner, stop: Stop, *words: str) -> None:
    code, said = follow(runner, ("docker", *words), stop=stop)
    if code != 0:
        lines = [line.rsplit("\r", 1)[-1].strip() for line in said.splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        hint = "is the engine running? `drivebuild doctor` says" if "annot connect to the Docker daemon" in last else ""
        raise SourceError(f"docker {words[0]} {words[-1]} failed: {last}", hint=hint)


def _bootstrap(
    wanted: Image,
    how: Bootstrap,
    target: Path,
    runner: Runner,
    mirror: str,
    environment: Mapping[str, str],
    stop: Stop,
) -> None:
    """Make the root of builder/engine/base.py, as a tar. The same packages give the same bytes."""
    architecture = f"--architectures={machine(wanted.architecture)}"
    clock = env_words({"SOURCE_DATE_EPOCH": str(CLOCK), **environment})
    places = (mirror,) if mirror else ()
    program, *options, suite = bootstrap_words(how)
    words = (program, *options, architecture, suite, str(target), *places)
    code, said = follow(runner, (*clock, *words), stop=stop, program="mmdebstrap")
    if code != 0:
        raise bootstrap_failure(wanted.image, code, said)


def layers_of(entry: Entry, content: Path) -> tuple[str, ...]:
    """Return the digests of a stored base image's layers, as the engine names them.

    They say whether two images hold the same: the same root has another id each time it is imported.

    Raises:
        SourceError: when the tar is damaged.
    """
    if entry.note == IMPORT:
        return (f"sha256:{entry.sha256}",)
    try:
        with tarfile.open(content) as tar:
            with _member(tar, "manifest.json") as file:
                named = json.load(file)[0]["Config"]
            with _member(tar, named) as file:
                return tuple(json.load(file)["rootfs"]["diff_ids"])
    except (tarfile.TarError, EOFError, ValueError, LookupError) as error:
        raise _damaged(content, error) from error


def _damaged(content: Path, error: Exception) -> SourceError:
    return SourceError(f"{content}: damaged: {error}", hint="`drivebuild store verify`")


def installed_in(content: Path) -> Installed | None:
    """Return what dpkg and apt know in a base image's tar; nothing for an image that is no Debian.

    Raises:
        SourceError: when the tar is damaged.
    """
    try:
        found = _known_to_apt(content)
    except (tarfile.TarError, EOFError, ValueError, LookupError) as error:
        raise _damaged(content, error) from error
    if _STATUS not in found:
        return None
    sources = {path.removeprefix(_APT): text for path, text in found.items() if path.startswith(_APT)}
    return Installed(status=found[_STATUS], sources=sources)


def _known_to_apt(content: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(content) as tar:
        layers = _layers(tar)
        if layers is None:
            found.update(_apt_files(tar))
        # Later layers win, as they do in the image.
        for layer in layers or ():
            with _member(tar, layer) as opened, tarfile.open(fileobj=opened) as inner:
                found.update(_apt_files(inner))
    return found


def _layers(tar: tarfile.TarFile) -> list[str] | None:
    """Return the layers of a `docker save`, in order; nothing for a tar that is a root itself."""
    try:
        with _member(tar, "manifest.json") as file:
            manifest = json.load(file)
        layers: list[str] = manifest[0]["Layers"]
    except KeyError:
        return None
    return layers


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    opened = tar.extractfile(name)
    if opened is None:
        raise SourceError(f"{tar.name!r}: {name} is not a file")
    return opened


def _apt_files(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for item in tar:
        name = item.name.removeprefix("./")
        listed = name.startswith(_APT + "sources.list") and name.endswith((".list", ".sources"))
        if item.isfile() and (name == _STATUS or listed):
            opened = tar.extractfile(item)
            if opened is not None:
                yield name, opened.read()

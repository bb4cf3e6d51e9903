"""An image from outside: what any of its layers still holds, and what its configuration says."""

from __future__ import annotations

import fnmatch
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO

from builder.engine.host import Engine
from builder.engine.verify import Check
from builder.errors import BuildError
from builder.pieces import Pieces

__all__ = ["forbidden_path", "look_from_outside"]

# Looked for in every layer: what a later layer deletes can still be read by who has the image.
_FORBIDDEN = {
    "secret": ("run/secrets/?*", "*/.netrc", "*/_netrc", "*/.pypirc", "*/.git-credentials", "*/id_rsa", "*/id_ed25519"),
    "CA file": ("*/ca-bundle", "*/ca-bundle.pem", "usr/local/share/ca-certificates/?*"),
    "cache": (
        "root/.cache/?*",
        "home/*/.cache/?*",
        "var/cache/apt/archives/*.deb",
        "var/cache/apt/*.bin",
        "var/cache/dnf/?*",
        "var/lib/apt/lists/*_*",
    ),
    "build tree": ("opt/uv/?*", "wheels/?*", "src/?*", "build/?*"),
}
_PATTERNS = {
    kind: re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
    for kind, patterns in _FORBIDDEN.items()
}
_WORDS_IN_HISTORY = ("PRIVATE KEY", "BEGIN CERTIFICATE", "PASSWORD=", "TOKEN=", "_PROXY=", "_proxy=")


def look_from_outside(
    engine: Engine,
    tag: str,
    *,
    labels: Mapping[str, str],
    base_layers: int,
    layers: Sequence[Sequence[str]] = (),
) -> tuple[Check, ...]:
    """Return the checks of an image as it is stored, whoever starts it.

    Args:
        engine: has the image.
        tag: its name.
        labels: what its configuration must say.
        base_layers: so many of the lowest layers are somebody else's, and not looked at.
        layers: the files of each layer that have a content, the lowest first, where the engine lets layers be looked
            into. Without them it exports the image, and wants the room for a copy.

    Raises:
        BuildError: when there is no such image.
    """
    image = engine.image(tag)
    if image is None:
        raise BuildError(f"there is no image {tag}", hint="`drivebuild image` with the same arguments builds it")
    user = str(image.config.get("User") or "root")
    wrong = {key: value for key, value in labels.items() if (image.config.get("Labels") or {}).get(key) != value}
    leaked = [entry[:200] for entry in engine.history(tag) if any(word in entry for word in _WORDS_IN_HISTORY)]
    if layers and len(layers) == len(image.layers):
        by_layer = [list(_forbidden(names)) for names in layers]
    else:
        by_layer = _in_archive(Pieces(engine.save(tag)))
    found: dict[str, list[str]] = {kind: [] for kind in _FORBIDDEN}
    for number, hits in enumerate(by_layer):
        for kind, path in hits if number >= base_layers else ():
            found[kind].append(f"layer {number}: {path}")
    return (
        Check("outside", "user of the image", ok=user.split(":")[0] not in ("root", "0"), detail=user),
        Check("outside", "labels", ok=not wrong, detail=wrong),
        Check("outside", "history", ok=not leaked, detail=leaked),
        *(
            Check("outside", f"no {kind} in any layer", ok=not paths, detail=paths[:10])
            for kind, paths in found.items()
        ),
    )


def forbidden_path(path: str) -> str:
    """Return what kind of thing that no image may hold a path is; empty for an ordinary one."""
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.match(path) or pattern.match(f"/{path}")), "")


def _forbidden(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        kind = forbidden_path(path)
        if kind:
            yield kind, path


def _in_archive(archive: Pieces) -> list[list[tuple[str, str]]]:
    """Return the forbidden paths of a saved image with their kinds, for each layer, the lowest first."""
    by_layer: dict[str, list[tuple[str, str]]] = {}
    order: list[str] = []
    with tarfile.open(fileobj=archive, mode="r|") as outer:
        for member in outer:
            file = outer.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            if member.name == "manifest.json":
                order = json.load(file)[0]["Layers"]
            elif member.name.endswith(".tar") or member.name.startswith("blobs/"):
                by_layer[member.name] = list(_forbidden(_members(file)))
    return [by_layer.get(name, []) for name in order]


def _members(file: IO[bytes]) -> Iterator[str]:
    try:
        with tarfile.open(fileobj=file, mode="r|") as layer:
            for member in layer:
                # An empty file or folder gives nothing away, and a whiteout is the opposite of a file.
                if member.isfile() and member.size:
                    yield member.name
    except tarfile.ReadError:
        return

"""An image from outside: what any of its layers still holds, and what its configuration says."""

from __future__ import annotations

import fnmatch
import json
import tarfile
from collections.abc import Iterator, Mapping
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
_WORDS_IN_HISTORY = ("PRIVATE KEY", "BEGIN CERTIFICATE", "PASSWORD=", "TOKEN=", "_PROXY=", "_proxy=")


def look_from_outside(engine: Engine, tag: str, *, labels: Mapping[str, str], base_layers: int) -> tuple[Check, ...]:
    """Return the checks that need no container.

    Raises:
        BuildError: when there is no such image.
    """
    image = engine.image(tag)
    if image is None:
        raise BuildError(f"there is no image {tag}", hint="`drivebuild image` with the same arguments builds it")
    user = str(image.config.get("User") or "root")
    wrong = {key: value for key, value in labels.items() if (image.config.get("Labels") or {}).get(key) != value}
    leaked = [entry[:200] for entry in engine.history(tag) if any(word in entry for word in _WORDS_IN_HISTORY)]
    found = _in_layers(Pieces(engine.save(tag)), skip=base_layers)
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
    for kind, patterns in _FORBIDDEN.items():
        if any(fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(f"/{path}", pattern) for pattern in patterns):
            return kind
    return ""


def _in_layers(archive: Pieces, *, skip: int) -> dict[str, list[str]]:
    """Return the forbidden paths of a saved image by kind; the first `skip` layers are somebody else's."""
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
                by_layer[member.name] = list(_forbidden_members(file))
    found: dict[str, list[str]] = {kind: [] for kind in _FORBIDDEN}
    for number, name in enumerate(order):
        for kind, path in by_layer.get(name, ()) if number >= skip else ():
            found[kind].append(f"layer {number}: {path}")
    return found


def _forbidden_members(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    try:
        with tarfile.open(fileobj=file, mode="r|") as layer:
            for member in layer:
                # An empty file or folder gives nothing away, and a whiteout is the opposite of a file.
                kind = forbidden_path(member.name) if member.isfile() and member.size else ""
                if kind:
                    yield kind, member.name
    except tarfile.ReadError:
        return

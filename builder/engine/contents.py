"""What an image holds, as the engine hands it out: from a container that is made for it and never runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from builder.engine.host import Engine
from builder.engine.manifests import identity
from builder.errors import BuildError

__all__ = ["CONTENTS", "Description", "described", "exported"]

CONTENTS = "drivebuild.contents"
"""Label of the containers that are only read."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of an image."""

    id: str
    created: str
    architecture: str
    labels: dict[str, str]
    environment: tuple[str, ...]
    user: str
    folder: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    layers: tuple[str, ...]
    identity: str
    """What it is whatever it is packed as, the same in an engine and in a registry."""


def described(engine: Engine, name: str) -> Description | None:
    """Return what the engine says of an image, or None where it has none of that name."""
    image = engine.image(name)
    if image is None:
        return None
    config = image.config
    return Description(
        id=image.id,
        created=str(engine.client.inspect_image(image.id).get("Created") or ""),
        architecture=image.architecture,
        labels={str(key): str(value) for key, value in sorted((config.get("Labels") or {}).items())},
        environment=tuple(map(str, config.get("Env") or ())),
        user=str(config.get("User") or ""),
        folder=str(config.get("WorkingDir") or ""),
        entrypoint=tuple(map(str, config.get("Entrypoint") or ())),
        command=tuple(map(str, config.get("Cmd") or ())),
        layers=image.layers,
        identity=f"sha256:{identity(image.layers, config)}",
    )


@contextmanager
def exported(engine: Engine, identity: str) -> Iterator[Iterator[bytes]]:
    """Give the files of an image as pieces of a tar archive, and leave nothing behind.

    Raises:
        BuildError: the engine cannot make or export the container.
    """
    from docker.errors import APIError

    client = engine.client
    try:
        # Of an image without a command the engine wants one; it is never started.
        made = client.create_container(identity, entrypoint=["/-"], labels={CONTENTS: "1"}, network_disabled=True)
        try:
            yield client.export(made["Id"], chunk_size=1 << 20)
        finally:
            client.remove_container(made["Id"], v=True, force=True)
    except APIError as error:
        raise BuildError(f"the engine cannot export {identity}: {error.explanation or error}") from None

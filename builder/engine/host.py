"""Which engine is there, and what is wrong with it. The docker SDK is imported only here."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.engine.process import CommandMissingError, Runner
from builder.errors import BuildError, UsageError
from builder.plan.imagename import is_image

if TYPE_CHECKING:
    import docker

__all__ = ["Engine", "Facts", "connect", "require_buildx", "seconds_of"]

INSTALL = (
    "install it (Debian 13: apt-get install docker.io docker-cli docker-buildx; `./quickstart` does it on Debian 12)"
)
CONTAINERD = '{"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json'
OTHER_STORE = (
    f"containerd's image store can: {CONTAINERD}, then restart the engine (`drivebuild doctor` says which is on); "
    "or another builder: `docker buildx create --name NAME --driver docker-container`, and --builder NAME"
)
"""What to do about an image store that cannot do what is asked of it."""
START = "start it: `systemctl start docker`, or `dockerd` as root"
SOCKET_RIGHTS = "add yourself to the group docker (`usermod -aG docker $USER`, then log in again), or use sudo"
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the engine says about itself."""

    version: str
    architecture: str
    root: str
    runtimes: tuple[str, ...] = ()
    driver: str = ""
    """What keeps the images' layers: overlay2, overlayfs."""
    containerd_store: bool = False
    clock: float | None = None
    """Seconds since the epoch, as the engine's machine says; None when it does not."""
    id: str = ""
    """The engine's own name for itself, which it keeps over restarts."""
    processors: int = 0
    """Of the engine's machine; 0 when it does not say."""

    def free_bytes(self) -> int | None:
        """Return what is free where the engine keeps its images; None when that is on another machine."""
        try:
            return shutil.disk_usage(self.root).free
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Image:
    """What is kept of an image's inspection."""

    id: str
    size: int
    architecture: str
    config: Mapping[str, Any]
    layers: tuple[str, ...]
    digest: str = ""
    """The one a registry knows it by; empty for an image that was never in one."""


class Engine:
    """A running engine."""

    def __init__(self, client: docker.APIClient) -> None:
        # Its stubs leave half of the methods without types.
        self._client: Any = client

    @property
    def client(self) -> Any:
        """The docker SDK's client, for builder/engine/containers.py."""
        return self._client

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def facts(self) -> Facts:
        """Return version, architecture and data folder."""
        info = self._client.info()
        machine = str(info.get("Architecture", ""))
        return Facts(
            version=str(info.get("ServerVersion", "")),
            architecture=_ARCHITECTURES.get(machine, machine),
            root=str(info.get("DockerRootDir", "")),
            runtimes=tuple(sorted(info.get("Runtimes") or {})),
            driver=str(info.get("Driver", "")),
            containerd_store="io.containerd.snapshotter" in str(info.get("DriverStatus") or ""),
            clock=seconds_of(str(info.get("SystemTime") or "")),
            id=str(info.get("ID") or ""),
            processors=int(info.get("NCPU") or 0),
        )

    def image(self, name: str) -> Image | None:
        """Return an image of the engine's own store, or None when it is not there.

        Raises:
            UsageError: no image can be called that.
        """
        from docker.errors import ImageNotFound, NotFound

        if not is_image(name):
            raise UsageError(
                f"{name!r} can be no image's name", hint="such as drivebuild/streampetr:debian-12-cpu-stock"
            )
        try:
            found = self._client.inspect_image(name)
        except (ImageNotFound, NotFound):
            return None
        return image_of(found)

    def history(self, name: str) -> tuple[str, ...]:
        """Return the commands an image says it was made with."""
        return tuple(str(entry.get("CreatedBy", "")) for entry in self._client.history(name))

    def history_sizes(self, name: str) -> tuple[tuple[str, int], ...]:
        """Return the commands an image says it was made with, each with its layer's bytes, the newest first."""
        return tuple(
            (str(entry.get("CreatedBy") or ""), int(entry.get("Size") or 0)) for entry in self._client.history(name)
        )

    def layer_folders(self, name: str) -> tuple[str, ...]:
        """Return where the engine keeps an image's layers, the lowest first; nothing when it does not say."""
        driver = self._client.inspect_image(name).get("GraphDriver") or {}
        data = driver.get("Data") or {}
        if driver.get("Name") != "overlay2" or not data.get("UpperDir"):
            return ()
        lower = str(data.get("LowerDir") or "").split(":")
        return (*(folder for folder in reversed(lower) if folder), str(data["UpperDir"]))

    def save(self, name: str) -> Iterator[bytes]:
        """Yield the image as pieces of a tar archive.

        Raises:
            BuildError: the engine cannot export it; it writes a copy of the image to its own disk first.
        """
        from docker.errors import APIError

        try:
            yield from self._client.get_image(name, chunk_size=1 << 20)
        except APIError as error:
            reason = str(error.explanation or error)
            full = "no space left" in reason.lower()
            hint = (
                "the engine writes the whole image to its disk first; `docker builder prune` makes room" if full else ""
            )
            raise BuildError(f"the engine cannot export {name}: {reason}", hint=hint) from None


def image_of(found: Mapping[str, Any]) -> Image:
    """Return what is kept of an inspection, which the engine and `docker image inspect` say alike."""
    return Image(
        id=str(found["Id"]),
        size=int(found.get("Size", 0)),
        architecture=_ARCHITECTURES.get(str(found.get("Architecture")), str(found.get("Architecture"))),
        config=found.get("Config") or {},
        layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
        digest=next((str(each).partition("@")[2] for each in found.get("RepoDigests") or ()), ""),
    )


def connect() -> Engine:
    """Return the engine that the docker command would talk to.

    Raises:
        BuildError: docker is not installed, not running, or not for this user; the hint says what to do.
    """
    import docker
    from docker.errors import DockerException

    endpoint = _endpoint()
    try:
        client = docker.APIClient(base_url=endpoint, version="auto", timeout=600, tls=_tls_of_environment(endpoint))
    except (DockerException, OSError, ValueError) as error:
        raise _diagnosed(endpoint, str(error)) from error
    return Engine(client)


def require_buildx(runner: Runner) -> str:
    """Return the version of buildx.

    Raises:
        BuildError: when docker or buildx is missing.
    """
    try:
        result = runner.run(("docker", "buildx", "version"))
    except CommandMissingError as error:
        raise BuildError(error.message, hint=INSTALL) from error
    if result.code != 0:
        message = "docker has no buildx, and an image with cache and secret mounts needs BuildKit"
        raise BuildError(message, hint="install the buildx plugin of docker (Debian: package docker-buildx)")
    return result.text.split()[1] if len(result.text.split()) > 1 else result.text


def seconds_of(text: str) -> float | None:
    """Return an RFC 3339 time, which the engine writes with nanoseconds, in seconds since the epoch."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def _endpoint() -> str:
    """Return the engine's address: DOCKER_HOST, or that of docker's current context."""
    named = os.environ.get("DOCKER_HOST", "")
    if named:
        return named
    from docker.context import ContextAPI

    try:
        context = ContextAPI.get_current_context()
        return str(context.Host or "") if context is not None else ""
    except Exception:  # noqa: BLE001  # a broken context file: the default socket is still worth a try
        return ""


def _tls_of_environment(endpoint: str) -> Any:
    folder = os.environ.get("DOCKER_CERT_PATH", "")
    if not (endpoint.startswith("tcp://") and folder and os.environ.get("DOCKER_TLS_VERIFY")):
        return False
    from docker.tls import TLSConfig

    path = Path(folder)
    pair = (str(path / "cert.pem"), str(path / "key.pem"))
    return TLSConfig(client_cert=pair, ca_cert=str(path / "ca.pem"), verify=True)


def _diagnosed(endpoint: str, said: str) -> BuildError:
    where = endpoint or "/var/run/docker.sock"
    if "Permission denied" in said or "PermissionError" in said:
        return BuildError(f"the docker engine at {where} refuses this user", hint=SOCKET_RIGHTS)
    if shutil.which("docker") is None:
        return BuildError("there is no docker engine: the command `docker` is not installed", hint=INSTALL)
    return BuildError(f"no docker engine answers at {where}", hint=START)

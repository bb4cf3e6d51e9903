"""Containers of runs, through the engine: what they do, what they print, and how they are stopped and removed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from builder.engine.host import Engine

__all__ = ["FOLDER", "RUN", "Container", "Containers", "GoneError"]

RUN = "drivebuild.run"
"""Label: the run's name, `<model>/<job>/<time>`."""
FOLDER = "drivebuild.folder"
"""Label: the run folder on the host."""


class GoneError(Exception):
    """There is no such container (`missing`), or no engine that answers."""

    def __init__(self, text: str, *, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One container as the engine knows it."""

    id: str
    name: str
    running: bool
    ended: bool
    """Whether it ran and does no more; one that was only created has not."""
    exit_code: int
    killed_for_memory: bool
    error: str
    """Why it could not be started, in the engine's words."""
    labels: Mapping[str, str]
    devices: tuple[int, ...]
    """NPUs it has, by `/dev/davinci<N>` or the Ascend runtime's variable."""


class Containers:
    """The engine's containers."""

    def __init__(self, engine: Engine) -> None:
        self._client: Any = engine.client

    def find(self, name: str) -> Container:
        """Return a container.

        Raises:
            GoneError: when there is none, or the engine does not answer.
        """
        return _container(self._ask("inspect_container", name))

    def running(self) -> tuple[Container, ...]:
        """Return all running containers, whoever started them."""
        return tuple(self._each({}))

    def of_runs(self) -> tuple[Container, ...]:
        """Return all containers of runs, ended ones as well."""
        return tuple(self._each({"all": True, "filters": {"label": [RUN]}}))

    def output(self, name: str, *, since: int = 0) -> Iterator[bytes]:
        """Yield what a container prints, from its start or a time on, until it ends.

        Raises:
            GoneError: when the engine stops answering.
        """
        yield from self._stream("logs", name, stream=True, follow=True, **({"since": since} if since else {}))

    def printed(self, name: str, lines: int = 20) -> bytes:
        """Return the last lines that a container printed; nothing when they are not to be had."""
        try:
            said = self._ask("logs", name, tail=lines)
        except GoneError:
            return b""
        return said if isinstance(said, bytes) else b""

    def attached(self, name: str) -> Iterator[bytes]:
        """Yield what a container prints from now on: where the engine keeps no logs.

        Raises:
            GoneError: when the engine stops answering.
        """
        yield from self._stream("attach", name, stdout=True, stderr=True, stream=True)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a container's first process; one that is gone needs none."""
        try:
            self._ask("kill", name, number)
        except GoneError:
            return

    def remove(self, name: str) -> None:
        """Remove a container, running or not."""
        try:
            self._ask("remove_container", name, force=True, v=True)
        except GoneError:
            return

    def _each(self, query: dict[str, Any]) -> Iterator[Container]:
        for entry in self._ask("containers", **query):
            try:
                yield self.find(str(entry["Id"]))
            except GoneError:
                # It ended between the two questions.
                continue

    def _stream(self, method: str, *words: Any, **options: Any) -> Iterator[bytes]:
        import docker.errors
        import requests
        import urllib3

        try:
            yield from getattr(self._client, method)(*words, **options)
        except (
            docker.errors.DockerException,
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            raise GoneError(str(error)) from error

    def _ask(self, method: str, *words: Any, **options: Any) -> Any:
        import docker.errors
        import requests

        try:
            return getattr(self._client, method)(*words, **options)
        except docker.errors.NotFound as error:
            raise GoneError(str(error), missing=True) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise GoneError(str(error)) from error


def _container(found: Mapping[str, Any]) -> Container:
    state, host = found.get("State") or {}, found.get("HostConfig") or {}
    config = found.get("Config") or {}
    return Container(
        id=str(found.get("Id", "")),
        name=str(found.get("Name", "")).lstrip("/"),
        running=bool(state.get("Running")),
        ended=state.get("Status") in ("exited", "dead"),
        exit_code=int(state.get("ExitCode") or 0),
        killed_for_memory=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        labels=config.get("Labels") or {},
        devices=tuple(sorted({*_mapped(host), *_visible(host, config.get("Env") or ())})),
    )


def _mapped(host: Mapping[str, Any]) -> Iterator[int]:
    for device in host.get("Devices") or ():
        match = re.search(r"/davinci(\d+)$", str(device.get("PathOnHost", "")))
        if match:
            yield int(match[1])


def _visible(host: Mapping[str, Any], environment: tuple[str, ...]) -> Iterator[int]:
    if host.get("Runtime") != "ascend":
        return
    for line in environment:
        name, _, value = str(line).partition("=")
        if name != "ASCEND_VISIBLE_DEVICES":
            continue
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", value):
            yield from range(int(first), int(last or first) + 1)

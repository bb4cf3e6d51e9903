"""The guard bites."""

from __future__ import annotations

import socket
import subprocess

import docker
import pytest


@pytest.mark.parametrize(
    "touch",
    [
        lambda: subprocess.run(["true"], check=True),
        lambda: subprocess.Popen(["true"]),
        lambda: socket.create_connection(("192.0.2.1", 9), timeout=0.01),
        lambda: socket.socket(),
        lambda: docker.from_env(),
    ],
    ids=["run", "Popen", "create_connection", "socket", "from_env"],
)
def test_touching_the_world_is_an_error(touch: object) -> None:
    with pytest.raises(AssertionError, match="a unit test must not"):
        touch()  # type: ignore[operator]

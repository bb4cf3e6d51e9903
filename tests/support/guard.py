"""A guard: a unit test that would touch the world fails with a plain sentence."""

from __future__ import annotations

import socket
import subprocess
from typing import Any, NoReturn

import pytest

from support.files import TESTS

REAL_PROCESSES = TESTS / "unit/scripts"
"""Tests of scripts that are nothing without the real git and bash."""


class UnitTestTouchedTheWorld(AssertionError):  # the name is the sentence
    """A unit test started a process, opened a socket or asked for a Docker engine."""


def _refuse(what: str) -> NoReturn:
    raise UnitTestTouchedTheWorld(f"a unit test must not {what}: use a fake, or move the test to tests/docker")


class _NoPopen(subprocess.Popen):  # type: ignore[type-arg]
    # A class, because libraries subclass and annotate with it.
    def __init__(self, args: Any, *_: Any, **__: Any) -> None:
        self._child_created = False
        _refuse(f"start a process ({args!r})")


class _NoSocket(socket.socket):
    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse("open a socket")


def _no_engine(*_: Any, **__: Any) -> NoReturn:
    _refuse("ask for a Docker engine")


@pytest.fixture(autouse=True)
def guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse processes, sockets and engines, except below tests/unit/scripts."""
    if REAL_PROCESSES in request.path.parents:
        return
    monkeypatch.setattr(subprocess, "Popen", _NoPopen)
    monkeypatch.setattr(socket, "socket", _NoSocket)
    monkeypatch.setattr("docker.from_env", _no_engine)

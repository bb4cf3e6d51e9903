"""A run whose engine is restarted under it: on an engine of the test's own, because nobody may restart another's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.jobs import CPU, Site, write_context, write_recipes
from support.locks import with_locks

from builder.engine.host import Engine
from builder.source.catalog import read_catalog

IMAGE = f"drivebuild/toyrun:{CPU}-stock"


class OwnEngine:
    """A dockerd with a folder, a socket, a network and mounts of its own: it touches no engine beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix://{self._folder}/sock"

    def start(self) -> None:
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        # In a network of its own: an engine without a bridge takes away the `docker0` it finds. And with mounts of its
        # own, which go when it goes.
        words = [
            "unshare",
            "--net",
            "--mount",
            "dockerd",
            *(f"--{name}={self._folder / place}" for name, place in places.items()),
        ]
        words += ["--host", self.address, "--iptables=false", "--ip6tables=false", "--bridge=none"]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        log.close()
        until(lambda: self.docker("version") == 0, "an engine of one's own does not start")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
        if number == signal.SIGKILL:
            (self._folder / "pid").unlink(missing_ok=True)

    def docker(self, *words: str, stdin: bytes = b"") -> int:
        command = ("docker", "--host", self.address, *words)
        return subprocess.run(command, input=stdin, capture_output=True, check=False).returncode

    def containers(self) -> list[str]:
        command = ("docker", "--host", self.address, "ps", "--all", "--quiet")
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def until(what: Callable[[], object], why: str) -> None:
    end = time.monotonic() + 180
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.1)


@pytest.fixture(scope="module")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the model's image as an archive; an engine without a network builds none."""
    folder = tmp_path_factory.mktemp("toyrun")
    recipes = write_recipes(folder / "recipes")
    context = write_context(with_locks(read_catalog((recipes,))), folder / "context", CPU)
    tag = f"drivebuild-test/toyrun:{os.getpid()}"
    subprocess.run(("docker", "build", "--quiet", "--tag", tag, str(context)), capture_output=True, check=True)
    saved = subprocess.run(("docker", "save", tag), capture_output=True, check=True).stdout
    subprocess.run(("docker", "image", "rm", "--force", tag), capture_output=True, check=True)
    return saved


@pytest.fixture(scope="module")
def own(engine: Engine, image: bytes) -> Iterator[OwnEngine]:
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("NO DOCKERD: only root can start an engine of one's own")
    # A socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="dbe-"))
    made = OwnEngine(folder)
    made.start()
    try:
        assert made.docker("load", stdin=image) == 0
        assert made.docker("tag", f"drivebuild-test/toyrun:{os.getpid()}", IMAGE) == 0
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site", write_recipes(tmp_path / "recipes"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_is_restarted(
    own: OwnEngine, site: Site, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Without live-restore an engine stops its containers when it ends, or those it finds when it starts again."""
    monkeypatch.setenv("DOCKER_HOST", own.address)
    process = site.start("run", "toyrun", "long", "--platform", CPU)
    until(lambda: any("started" in path.read_text() for path in site.runs.glob("*/*/*/job.log")), "it does not start")
    own.stop(number)
    own.start()
    output = process.communicate(timeout=300)[0].decode()
    assert "the engine does not answer" in output
    assert process.returncode == 143, output
    result = site.last_result()
    assert (result["status"], result["signal"]) == ("interrupted", "SIGTERM")
    assert own.containers() == []

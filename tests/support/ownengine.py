"""An engine with the containerd image store and a real registry, both in a network of their own."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["OwnEngine", "needs_dockerd", "own_engine"]

PROGRAMS = ("bash", "cat", "touch")

REGISTRY = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}
http: {{addr: "127.0.0.1:5000"}}
"""
# In a network of its own: an engine without a bridge takes away the `docker0` it finds. And with mounts of its own.
SCRIPT = """\
ip link set lo up
[ "$3" = none ] || { ip link add "$3" type bridge; ip address add 10.213.77.1/24 dev "$3"; ip link set "$3" up; }
[ -z "$1" ] || "$1" serve "$2/registry.yml" > "$2/registry.log" 2>&1 &
exec dockerd --config-file "$2/daemon.json" --data-root "$2/data" --exec-root "$2/exec" --pidfile "$2/pid" \
    --host "unix://$2/sock" --bridge="$3" --iptables=false --ip6tables=false
"""


@dataclass(frozen=True)
class OwnEngine:
    folder: Path
    repository: str = "localhost:5000/team"
    kill: Callable[[], None] = lambda: None
    """Ends it at once, as a machine that loses its power; the registry, too."""
    start: Callable[[], None] = lambda: None
    """Starts it again, with all that it had."""

    @property
    def address(self) -> str:
        return f"unix://{self.folder}/sock"

    def docker(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ("docker", "--host", self.address, *words)
        return subprocess.run(command, input=stdin, capture_output=True, check=False)

    def import_tiny(self, name: str) -> None:
        """Give it an image that can run a shell, without any registry."""
        done = self.docker("import", "-", name, stdin=_tiny_system())
        assert done.returncode == 0, done.stderr

    @property
    def blobs(self) -> dict[str, int]:
        """The registry's blobs with their sizes, by sha256."""
        place = self.folder / "registry/docker/registry/v2/blobs/sha256"
        return {path.parent.name: path.stat().st_size for path in place.glob("*/*/data")}

    def blob(self, digest: str) -> bytes:
        name = digest.removeprefix("sha256:")
        return (self.folder / f"registry/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data").read_bytes()


def needs_dockerd() -> None:
    """Skip the test, loudly, where nobody can start an engine; fail it where one is required."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        if os.geteuid() == 0 and os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail("there is no dockerd")
        pytest.skip("SKIPPED LOUDLY: needs root and dockerd")


@contextmanager
def own_engine(*, containerd_store: bool, with_registry: bool = True, bridge: str = "none") -> Iterator[OwnEngine]:
    """Start an engine and a registry that it reaches as localhost:5000; needs root, dockerd and docker-registry.

    Steps of a build that are to have a network, though it leads nowhere, want a `bridge`.
    """
    registry = shutil.which("docker-registry") if with_registry else ""
    assert registry is not None
    # A socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="dbe-"))
    (folder / "registry.yml").write_text(REGISTRY.format(folder=folder))
    store = "true" if containerd_store else "false"
    (folder / "daemon.json").write_text(f'{{"features": {{"containerd-snapshotter": {store}}}}}')
    words = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        # As /run after a start of the machine: numbers of processes of a former namespace say nothing.
        (folder / "pid").unlink(missing_ok=True)
        shutil.rmtree(folder / "exec", ignore_errors=True)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                (*words, "bash", "-c", SCRIPT, "own-engine", registry, str(folder), bridge), stdout=log, stderr=log
            )
        running.append(process)
        _until(lambda: process.poll() is not None or made.docker("version").returncode == 0)
        assert process.poll() is None, (folder / "log").read_text(errors="replace")[-3000:]

    def kill() -> None:
        # With it go, as the kernel says, all that it started and its mounts.
        for process in running:
            process.kill()
            process.wait()

    made = OwnEngine(folder, kill=kill, start=start)
    try:
        start()
        yield made
    finally:
        kill()
        _until(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists())


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 180
    while not what():
        assert time.monotonic() < end, "an engine of one's own does not start"
        time.sleep(0.1)


def _tiny_system() -> bytes:
    """Return a tar of a shell and two programs, with the libraries of this machine that they need."""
    found = {"/bin/" + name: Path(shutil.which(name) or name).resolve() for name in PROGRAMS}
    for program in tuple(found.values()):
        said = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True).stdout
        found |= {word: Path(word).resolve() for word in said.split() if word.startswith("/")}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, path in found.items():
            tar.add(path, name.lstrip("/"))
    return content.getvalue()

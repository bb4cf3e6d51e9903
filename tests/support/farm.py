"""A build farm of one machine: a BuildKit and a private registry behind TLS, in a network of their own, and a client in
another one, joined by a cable."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from builder.engine.process import Argv, Feed, Result, SystemRunner
from support import buildkitdoor
from support.registry import started_registry

__all__ = ["PASSWORD", "PRIVATE", "Farm", "Namespace", "NamespaceRunner", "farm_of"]

PRIVATE = "registry.test:5443"
"""The registry, as it is called in both networks."""
PASSWORD = "open-sesame"  # noqa: S105  # of a registry that lives for a minute
# bcrypt of PASSWORD, the only kind that the registry takes.
_HTPASSWD = "farmer:$2b$05$abcdefghijklmnopqrstuutXu9KzOt.1yBoZUeFWoT/914/JfszCO"
_FAR, _NEAR = "192.0.2.2", "192.0.2.1"
_PORT = "1234"


class NamespaceRunner(SystemRunner):
    """Starts commands inside a namespace."""

    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__()
        self._words = words

    def run(self, argv: Argv, *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Result:
        return super().run((*self._words, *argv), stdin=stdin, env=env)

    def stream(
        self,
        argv: Argv,
        feed: Feed,
        *,
        tick: float = 0.25,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> int:
        return super().stream((*self._words, *argv), feed, tick=tick, stdin=stdin, env=env)


class Namespace:
    """A network and mounts of its own, as long as it is held."""

    def __init__(self) -> None:
        self.holder = subprocess.Popen(("unshare", "--net", "--mount", "sleep", "infinity"))
        own = Path("/proc/self/ns/net").readlink()
        _until(lambda: Path(f"/proc/{self.holder.pid}/ns/net").readlink() != own, "a namespace")
        _until(lambda: Path(f"/proc/{self.holder.pid}/comm").read_text() == "sleep\n", "a namespace's mounts")
        self.run("ip", "link", "set", "lo", "up")

    @property
    def words(self) -> tuple[str, ...]:
        place = f"/proc/{self.holder.pid}/ns"
        return ("nsenter", f"--net={place}/net", f"--mount={place}/mnt")

    def run(self, *argv: str) -> None:
        done = SystemRunner().run((*self.words, *argv))
        assert done.code == 0, f"{argv}: {done.complaint}"


@dataclass
class Farm:
    """It while it lasts."""

    folder: Path
    far: Namespace
    near: Namespace
    engine: subprocess.Popen[bytes] | None = None
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def runner(self) -> SystemRunner:
        """Starts commands where the client is."""
        return NamespaceRunner(self.near.words)

    @property
    def there(self) -> SystemRunner:
        """Starts commands where the BuildKit and the registries are."""
        return NamespaceRunner(self.far.words)

    @property
    def address(self) -> str:
        """The far engine's socket: sockets in folders know no networks."""
        return f"unix://{self.folder}/sock"

    def docker(self, *words: str) -> Result:
        return SystemRunner().run(("docker", "--host", self.address, *words))

    @property
    def blobs(self) -> Path:
        """The registry's contents."""
        return self.folder / "registry/docker/registry/v2/blobs/sha256"

    def login(self) -> None:
        """Write the password into the caller's DOCKER_CONFIG."""
        words = ("docker", "--host", self.address, "login", "--username", "farmer", "--password-stdin", PRIVATE)
        done = self.there.run(words, stdin=PASSWORD.encode())
        assert done.code == 0, done.complaint

    def start_engine(self) -> None:
        """Start the engine, with what it had when it was killed."""
        (self.folder / "pid").unlink(missing_ok=True)
        # It has the numbers of processes that were killed, which are those of others by now.
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid", "config-file": "daemon.json"}
        words = [*self.far.words, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "dockerd"]
        words += [word for name, place in places.items() for word in (f"--{name}", str(self.folder / place))]
        words += ["--host", self.address, "--bridge=none", "--iptables=false", "--ip6tables=false"]
        with (self.folder / "log").open("ab") as log:
            self.engine = subprocess.Popen(words, stdout=log, stderr=log)
        _until(lambda: self.docker("version").code == 0, "the far engine")

    def kill_engine(self) -> None:
        """End it as a machine ends whose plug is pulled, with all that it started."""
        if self.engine is not None:
            children = Path(f"/proc/{self.engine.pid}/task/{self.engine.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
            self.engine.kill()
            self.engine.wait()
            self.engine = None


@contextlib.contextmanager
def farm_of(name: str) -> Iterator[Farm]:
    """Make the farm, with a builder of that name in the caller's BUILDX_CONFIG.

    Needs root, dockerd and docker-registry.
    """
    # A socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="dbf-"))
    with contextlib.ExitStack() as undo:
        undo.callback(
            lambda: _until(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists(), "an end")
        )
        farm = Farm(folder, Namespace(), Namespace())
        undo.callback(lambda: _end(farm))
        _join(farm)
        certificates = _certificates(folder)
        (folder / "daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
        _registry(farm)
        farm.start_engine()
        door = (sys.executable, buildkitdoor.__file__, _FAR, _PORT, str(folder / "sock"))
        keys = tuple(str(certificates / each) for each in ("ca.pem", "server.pem", "server.key"))
        farm.others.append(subprocess.Popen((*farm.far.words, *door, *keys)))
        options = ",".join(f"{key}={certificates / file}" for key, file in _CLIENT) + ",servername=buildkit.test"
        words = ("docker", "buildx", "create", "--name", name, "--driver", "remote", "--driver-opt", options)
        _until(lambda: farm.runner.run((*words, f"tcp://{_FAR}:{_PORT}")).code == 0, "the builder")
        _until(lambda: "running" in farm.runner.run(("docker", "buildx", "inspect", name)).text, "the builder")
        yield farm


_CLIENT = (("cacert", "ca.pem"), ("cert", "client.pem"), ("key", "client.key"))


def _join(farm: Farm) -> None:
    pids = (str(farm.near.holder.pid), str(farm.far.holder.pid))
    words = ("ip", "link", "add", "near", "netns", pids[0], "type", "veth", "peer", "name", "far", "netns", pids[1])
    done = SystemRunner().run(words)
    assert done.code == 0, done.complaint
    for namespace, device, address in ((farm.near, "near", _NEAR), (farm.far, "far", _FAR)):
        namespace.run("ip", "addr", "add", f"{address}/30", "dev", device)
        namespace.run("ip", "link", "set", device, "up")


def _certificates(folder: Path) -> Path:
    """Write a CA and what it signs; the engine trusts it for the private registry."""
    place, ca = folder / "tls", trustme.CA()
    place.mkdir()
    for name, host in (("server", "buildkit.test"), ("client", "client.test"), ("registry", "registry.test")):
        issued = ca.issue_cert(host)
        issued.private_key_pem.write_to_path(place / f"{name}.key")
        (place / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    ca.cert_pem.write_to_path(place / "ca.pem")
    trusted = folder / "certs.d" / PRIVATE
    trusted.mkdir(parents=True)
    shutil.copy(place / "ca.pem", trusted / "ca.crt")
    return place


def _registry(farm: Farm) -> None:
    folder = farm.folder
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{_FAR} registry.test\n")
    (folder / "etc").mkdir()
    (folder / "etc/certs.d").symlink_to(folder / "certs.d")
    for namespace in (farm.far, farm.near):
        namespace.run("mount", "--bind", str(folder / "hosts"), "/etc/hosts")
    farm.far.run("mkdir", "-p", "/etc/docker")
    farm.far.run("mount", "--bind", str(folder / "etc"), "/etc/docker")
    (folder / "htpasswd").write_text(f"{_HTPASSWD}\n")
    tls = f", tls: {{certificate: {folder}/tls/registry.pem, key: {folder}/tls/registry.key}}"
    auth = f"auth: {{htpasswd: {{realm: farm, path: {folder}/htpasswd}}}}\n"
    process = started_registry(folder, f"{_FAR}:5443", inside=farm.far.words, tls=tls, auth=auth)
    farm.others.append(process)


def _end(farm: Farm) -> None:
    farm.kill_engine()
    for process in (*farm.others, farm.near.holder, farm.far.holder):
        process.kill()
        process.wait()


def _until(what: Callable[[], object], why: str) -> None:
    end = time.monotonic() + 180
    while not what():
        assert time.monotonic() < end, f"{why} does not come"
        time.sleep(0.05)

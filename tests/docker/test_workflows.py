"""The workflows' steps with a real engine, as a runner has it, and a real registry: from the base to the name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.files import REPOSITORY
from support.ownengine import OwnEngine, own_engine

from builder.engine.host import Engine

pytestmark = pytest.mark.docker
SCRIPTS = REPOSITORY / "templates/ci"
BASE = "localhost/drivebuild/base:debian-12"
TOOLS = "streampetr --platform debian-12-cpu --until tools"
PLACE = {"DRIVEBUILD_PLATFORM": "debian-12-cpu", "DRIVEBUILD_BASE": BASE, "DRIVEBUILD_BASE_ID": "base-debian-12-amd64"}


class RunnerMachine:
    """A machine of a CI service: an engine of its own, and the registry that it reaches."""

    def __init__(self, own: OwnEngine, folder: Path) -> None:
        self.own, self.folder, self.bin = own, folder / "checkout", folder / "bin"
        self.folder.mkdir()
        self.bin.mkdir()
        own_words = f'exec {sys.executable} -m builder "$@"'
        # Only whole environments can be verified; what is built here is a stage before.
        self._program("drivebuild", f'case "$1" in verify) echo "{{}}" ;; *) {own_words} ;; esac')
        self._program("sudo", 'exec "$@"')
        self._program("apt-get", "")

    def _program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def run(self, script: str, **env: str) -> str:
        """Run a step in the engine's network, where its registry is."""
        environment = {
            **os.environ,
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "DOCKER_HOST": self.own.address,
            "DRIVEBUILD_REGISTRY": self.own.repository,
            **env,
        }
        command = ("nsenter", f"--net=/proc/{_pid(self.own)}/ns/net", "bash", str(SCRIPTS / f"{script}.sh"))
        done = subprocess.run(
            command, cwd=self.folder, env=environment, input="", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _pid(own: OwnEngine) -> int:
    """Return a process of the engine: who is in its network sees its registry."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if Path(words[0]).name == "dockerd" and f"{own.folder}/data" in words:
            return int(place.name)
    raise AssertionError("the engine has no process")


@pytest.fixture(scope="module")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the base image as a file, for engines that have nothing."""
    path = tmp_path_factory.mktemp("base") / "base.tar"
    subprocess.run(("docker", "save", "--output", str(path), BASE), check=True)
    yield path
    path.unlink()


@pytest.fixture
def machine(base: Path, tmp_path: Path) -> Iterator[RunnerMachine]:
    missing = [name for name in ("dockerd", "docker-registry", "nsenter") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        if os.geteuid() == 0 and os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail(f"there is no {missing[0]}: `./quickstart test` brings it")
        pytest.skip("SKIPPED LOUDLY: needs root, dockerd and docker-registry (the distribution's packages)")
    with own_engine(containerd_store=True) as own:
        assert own.docker("load", "--input", str(base)).returncode == 0
        yield RunnerMachine(own, tmp_path)


def digests(own: OwnEngine, repository: str) -> set[str]:
    place = own.folder / f"registry/docker/registry/v2/repositories/team/{repository}/_manifests/revisions/sha256"
    return {path.name for path in place.glob("*")}


def tags(own: OwnEngine, repository: str) -> set[str]:
    place = own.folder / f"registry/docker/registry/v2/repositories/team/{repository}/_manifests/tags"
    return {path.name for path in place.glob("*")}


def test_from_a_base_to_a_name(machine: RunnerMachine) -> None:
    own, real = machine.own, f"{sys.executable} -m builder"
    # A base that is not in the registry is made: the one that is there stands for a bootstrap of minutes. A stage
    # before the image says no recipe.
    stands_for = f'verify) echo "{{}}" ;; base) ;; merge) exec {real} "$@" --any-recipe ;; *) exec {real} "$@" ;;'
    machine._program("drivebuild", f'case "$1" in {stands_for} esac')
    made = machine.run("base", DRIVEBUILD_BASE_REF="debian-12-amd64", DRIVEBUILD_FRESH="false", **PLACE)
    found = (machine.folder / "out/base-debian-12-amd64").read_text()
    assert re.fullmatch(rf"{own.repository}/base@sha256:[0-9a-f]{{64}}\n", found)
    assert found in made
    # The other jobs have it from there, under the name that Dockerfiles say.
    own.docker("image", "rm", "--force", BASE)
    machine.run("with-base", **PLACE)
    assert own.docker("image", "inspect", BASE).returncode == 0
    # A trial has no digest handed on: the registry's, where it may read that.
    (machine.folder / "out/base-debian-12-amd64").unlink()
    own.docker("image", "rm", "--force", BASE)
    machine.run("with-base", **PLACE)
    assert own.docker("image", "inspect", BASE).returncode == 0
    assert (machine.folder / "out/base-debian-12-amd64").read_text() == found
    again = machine.run("base", DRIVEBUILD_BASE_REF="debian-12-amd64", DRIVEBUILD_FRESH="false", **PLACE)
    assert found in again

    builds = f"{TOOLS}\tdebian-12-cpu-amd64-tools-0123\tdebian-12-cpu-amd64-tools"
    text = machine.run("shared", DRIVEBUILD_BUILDS=builds, **PLACE)
    # What stands on another base is another cache.
    kept = f"debian-12-cpu-amd64-tools-0123-{found.rstrip().rpartition(':')[2][:12]}"
    assert tags(own, "cache") == {kept, "debian-12-cpu-amd64-tools"}
    assert "is there" not in text
    assert "is there" in machine.run("shared", DRIVEBUILD_BUILDS=builds, **PLACE)

    # Another machine has nothing but the registry: what is shared is not run again.
    own.docker("builder", "prune", "--all", "--force")
    identity = "streampetr-debian-12-cpu-stock-amd64"
    image = {
        **PLACE,
        "DRIVEBUILD_ID": identity,
        "DRIVEBUILD_ARGUMENTS": TOOLS,
        "DRIVEBUILD_CACHE_FROM": "debian-12-cpu-amd64-tools-0123",
        "DRIVEBUILD_CACHE_TO": "debian-12-cpu-amd64-streampetr-stock",
        "XDG_STATE_HOME": str(machine.folder / "out/state"),
    }
    text = machine.run("image", DRIVEBUILD_PUSH="true", **image)
    pushed = json.loads((machine.folder / f"out/{identity}.pushed.json").read_text())
    assert digests(own, "streampetr") >= {pushed["digest"].removeprefix("sha256:")}
    # The engine's BuildKit pushes nothing without a tag: one that no person would name.
    assert all(tag.endswith("-amd64") for tag in tags(own, "streampetr"))
    (record,) = (machine.folder / "out/state").rglob("record.json")
    states = {stage["name"]: stage["state"] for stage in json.loads(record.read_text())["stages"]}
    assert states["tools"] == "cached", states

    summary = machine.folder / "summary"
    machine.run("summary", GITHUB_STEP_SUMMARY=str(summary))
    assert re.search(r"\| `drivebuild/streampetr:debian-12-cpu-stock-tools` \| done \| [0-9.]+ \|", summary.read_text())

    name = {"DRIVEBUILD_MODEL": "streampetr", "DRIVEBUILD_TAG": "debian-12-cpu-stock", "DRIVEBUILD_IDS": identity}
    machine.run("merge", **name)
    assert "debian-12-cpu-stock" in tags(own, "streampetr")


def test_the_engine_of_a_runner_is_looked_at(machine: RunnerMachine) -> None:
    assert "engine " in machine.run("engine")

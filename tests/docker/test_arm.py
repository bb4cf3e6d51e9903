"""aarch64 under emulation: the shipped stages `tcmalloc` and `uv`, rendered from a shipped recipe, built for arm64.

No CANN image can be pulled everywhere, so the platform is moved onto the Debian base that drivebuild makes itself, here
for arm64; model, locks, templates and the recipe of tcmalloc are the shipped ones. The commit of gperftools comes from
the mirror on disk; where there is none, the distribution's source package (2.10) is compiled by the same stage.

Needs qemu-user-static, registered with binfmt_misc; `./quickstart test` sees to that. Takes minutes: every process of
apt and of the compiler is emulated.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest
from support.upstreams import mirror_folder

from builder.engine.host import Engine
from builder.engine.process import Result, SystemRunner
from builder.plan.make import make_plan
from builder.plan.needs import DebianNeed, ImageNeed, PackageNeed, plan_needs
from builder.plan.stage import Plan
from builder.recipe.types import Catalog, GitSource
from builder.render.dockerfile import render_dockerfile
from builder.source.config import Config
from builder.source.contexts import make_contexts
from builder.source.fetch import fetch
from builder.source.network import Network, make_network
from builder.source.store import Store

pytestmark = pytest.mark.docker

BASE = "localhost/drivebuild-test/base:debian-12-arm64"
INCLUDED = ("ca-certificates", "python3", "python3-pip", "g++", "libc6-dev", "make", "patch")
"""What the two stages and those below them install: mmdebstrap brings all of it along, so that apt, which takes minutes
when it is emulated, finds nothing left to do."""
RUNNER = SystemRunner()
EM_AARCH64 = 183
SOURCE = "gperftools-2.16"
PACKAGED = DebianNeed(
    stage="src-gperftools",
    name="gperftools-2.10",
    package="google-perftools",
    suite="bookworm",
    file="google-perftools_2.10.orig.tar.gz",
    sha256="b0dcfe3aca1a8355955f4b415ede43530e3bb91953b6ffdd75c45891070fe0f1",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.make(tmp_path_factory.mktemp("arm") / "store")


@pytest.fixture(scope="module")
def network() -> Network:
    return make_network(Config(), os.environ)


@pytest.fixture(scope="module")
def plan(catalog: Catalog) -> tuple[Catalog, Plan]:
    """Return a shipped model's plan for a shipped NPU platform that stands on Debian, for aarch64 alone."""
    own, cpu = catalog.platforms["cann-8.1.rc1"], catalog.platforms["debian-12-cpu"]
    assert cpu.base.bootstrap is not None
    system = catalog.systems[cpu.system]
    bootstrap = msgspec.structs.replace(cpu.base.bootstrap, include=(*INCLUDED, *system.tcmalloc_build))
    base = msgspec.structs.replace(cpu.base, image=BASE, bootstrap=bootstrap)
    moved = msgspec.structs.replace(own, system=cpu.system, architectures=("aarch64",), base=base)
    system = msgspec.structs.replace(system, runtime=INCLUDED[:1], tcmalloc=(), build=INCLUDED[3:])
    changed = msgspec.structs.replace(
        catalog,
        platforms={**catalog.platforms, own.name: moved},
        systems={**catalog.systems, cpu.system: system},
    )
    return changed, make_plan(changed, "pivotnet", platform=own.name, architecture="aarch64")


@pytest.fixture(scope="module")
def emulated(engine: Engine) -> None:
    """Insist on an emulator for aarch64; CI installs one."""
    if engine.facts().architecture == "aarch64":
        return
    registered = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
    if registered.exists() and "enabled" in registered.read_text(encoding="ascii"):
        return
    reason = "NO EMULATION of aarch64: apt-get install qemu-user-static binfmt-support arch-test"
    if os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def contexts(
    emulated: None,
    engine: Engine,
    plan: tuple[Catalog, Plan],
    store: Store,
    network: Network,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, ...]:
    """Return the words that give a build all it needs but gperftools, from a store; the base is in the engine then."""
    found = plan_needs(*plan, "aarch64", until="uv")
    needs = [need for need in found if isinstance(need, PackageNeed)]
    fetch(needs, store, network, RUNNER)
    if engine.image(BASE) is None:
        (base,) = (need for need in found if isinstance(need, ImageNeed))
        fetch([base], store, network, RUNNER)
        entry = store.find(base.key)
        assert entry is not None
        assert entry.note == "docker import", "a root that mmdebstrap made"
        docker("import", "--platform", "linux/arm64", str(store.object(entry)), BASE)
    folder = tmp_path_factory.mktemp("contexts")
    made = make_contexts(needs, store, RUNNER, folder=folder)
    places = {one.stage: one.folder for one in made} | {"os-packages": folder / "none"}
    for name in ("lists", "archives"):
        (folder / "none" / name).mkdir(parents=True)
    return tuple(word for stage, place in places.items() for word in ("--build-context", f"{stage}={place}"))


@pytest.fixture(scope="module")
def gperftools(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory, store: Store, network: Network) -> Path:
    """Return gperftools' source: the recipe's commit, or what the distribution makes its package of."""
    target = tmp_path_factory.mktemp("gperftools") / "source"
    source = catalog.sources[SOURCE]
    assert isinstance(source, GitSource)
    repository = mirror_folder() / "gperftools+gperftools" / "repo"
    target.mkdir()
    if repository.is_dir():
        command = ("git", f"--git-dir={repository}", "archive", source.commit)
        packed = subprocess.run(command, check=True, capture_output=True).stdout
        subprocess.run(("tar", "-x", "-C", str(target)), input=packed, check=True)
        return target
    fetch([PACKAGED], store, network, RUNNER)
    entry = store.find(PACKAGED.key)
    assert entry is not None
    with tarfile.open(store.object(entry)) as tar:
        tar.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder


def docker(*words: str) -> Result:
    done = RUNNER.run(("docker", *words))
    assert done.code == 0, done.complaint[-4000:]
    return done


def build(plan: Plan, templates: dict[str, str], until: str, folder: Path, *words: str) -> None:
    """Build a stage for arm64 on this machine, as the rendered file says."""
    (folder / "Dockerfile").write_text(render_dockerfile(plan, templates), encoding="utf-8")
    (folder / "context").mkdir(exist_ok=True)
    command = ("buildx", "build", "--platform", "linux/arm64", "--network", "none", "--load", "--target", until)
    docker(*command, *words, "--file", str(folder / "Dockerfile"), str(folder / "context"))


def test_uv_of_the_store(
    contexts: tuple[str, ...], plan: tuple[Catalog, Plan], templates: dict[str, str], tmp_path: Path, tag: str
) -> None:
    """The wheel that the lock names for aarch64 is fetched here, and runs there."""
    build(plan[1], templates, "uv", tmp_path, "--tag", tag, *contexts)
    done = docker("run", "--rm", "--platform", "linux/arm64", "--network", "none", tag, "/opt/uv/bin/uv", "--version")
    assert done.text.startswith("uv ")
    assert "aarch64" in done.text


def test_tcmalloc_with_pages_of_64_kib(
    contexts: tuple[str, ...],
    plan: tuple[Catalog, Plan],
    templates: dict[str, str],
    gperftools: Path,
    tmp_path: Path,
    tag: str,
) -> None:
    source = ("--build-context", f"src-{SOURCE}={gperftools}")
    build(plan[1], templates, "tcmalloc", tmp_path, "--tag", tag, *contexts, *source)
    script = """\
set -eu
grep -rhE --include=config.h '^.define TCMALLOC_PAGE_SIZE_SHIFT 16' /build
LD_PRELOAD=/opt/gperftools/lib/libtcmalloc.so.4 MALLOCSTATS=1 cat /proc/self/maps | grep -m 1 libtcmalloc
LD_PRELOAD=/opt/gperftools/lib/libtcmalloc.so.4 MALLOCSTATS=1 /bin/true 2>&1 | grep 'Tcmalloc page size'
uname -m
"""
    run = ("run", "--rm", "--platform", "linux/arm64", "--network", "none")
    said = docker(*run, tag, "/bin/bash", "-c", script).text.splitlines()
    assert said[0] == "#define TCMALLOC_PAGE_SIZE_SHIFT 16"
    assert "/opt/gperftools/lib/libtcmalloc.so.4" in said[1], "not in the process it was preloaded into"
    assert "65536" in said[2], said
    assert said[-1] == "aarch64"
    library = tmp_path / "libtcmalloc.so.4"
    made = docker("create", "--platform", "linux/arm64", tag, "true").text.strip()
    try:
        docker("cp", "--follow-link", f"{made}:/opt/gperftools/lib/libtcmalloc.so.4", str(library))
    finally:
        docker("rm", made)
    head = library.read_bytes()[:20]
    assert head[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", head, 18)[0] == EM_AARCH64
    shutil.rmtree(gperftools.parent)

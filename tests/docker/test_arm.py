"""aarch64 under emulation: the shipped stages `uv`, `tcmalloc` and `allocators`, rendered from a shipped recipe.

No CANN image can be pulled everywhere, so the platform is moved onto the Debian base that drivebuild makes itself, here
for arm64; model, locks, templates and the recipe of tcmalloc are the shipped ones. gperftools comes from the
distribution's source package, a way that the recipe offers there; then the shipped entrypoint preloads what was made.

Needs qemu-user-static, registered with binfmt_misc; `./quickstart test` sees to that. Takes minutes: every process of
apt and of the compiler is emulated.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from builder import paths
from builder.engine.host import Engine
from builder.engine.process import Result, SystemRunner
from builder.plan.make import make_plan
from builder.plan.needs import DebianNeed, ImageNeed, PackageNeed, plan_needs
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile
from builder.source.config import Config
from builder.source.contexts import make_contexts
from builder.source.fetch import fetch
from builder.source.network import Network, make_network
from builder.source.store import Store

pytestmark = pytest.mark.docker

BASE = "localhost/drivebuild-test/base:debian-12-arm64"
INCLUDED = ("ca-certificates", "python3", "python3-pip", "g++", "libc6-dev", "make", "patch")
"""What the stages and those below them install: mmdebstrap brings all of it along, so that apt, which takes minutes
when it is emulated, finds nothing left to do."""
RUNNER = SystemRunner()
EM_AARCH64 = 183
OPTIONS = {"tcmalloc": "source-package"}
LIBGOMP = "/opt/venv/lib/python3.11/site-packages/torch.libs/libgomp-0123.so.1"


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
    system = msgspec.structs.replace(system, runtime=INCLUDED[:1], tcmalloc=(), jemalloc=(), build=INCLUDED[3:])
    changed = msgspec.structs.replace(
        catalog,
        platforms={**catalog.platforms, own.name: moved},
        systems={**catalog.systems, cpu.system: system},
    )
    return changed, make_plan(changed, "pivotnet", platform=own.name, architecture="aarch64", options=OPTIONS)


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
    """Return the words that give a build all it needs, from a store; the base is in the engine then."""
    found = dict.fromkeys(need for until in ("uv", "allocators") for need in plan_needs(*plan, "aarch64", until=until))
    needs = [need for need in found if isinstance(need, PackageNeed | DebianNeed)]
    assert [need.package for need in needs if isinstance(need, DebianNeed)] == ["google-perftools"]
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


@pytest.fixture(scope="module")
def allocators(
    contexts: tuple[str, ...],
    plan: tuple[Catalog, Plan],
    templates: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Build gperftools and the stage that hands it on; return its image."""
    tag = "drivebuild-test/arm-allocators:1"
    build(plan[1], templates, "allocators", tmp_path_factory.mktemp("allocators"), "--tag", tag, *contexts)
    yield tag
    RUNNER.run(("docker", "image", "rm", tag))


def inside(tag: str, script: str, *words: str) -> str:
    """Run a script in the image for arm64, in which everything is where `env` would have it."""
    entrypoint = paths.TEMPLATES / "scripts" / "entrypoint.sh"
    mounts = ("--volume", f"{paths.IN_IMAGE}:/in_image:ro", "--volume", f"{entrypoint}:/entrypoint:ro")
    run = ("run", "--rm", "--platform", "linux/arm64", "--network", "none", *mounts, *words, tag)
    prepared = f"""\
set -eu
cp -a /files/. /
mkdir -p {LIBGOMP.rpartition("/")[0]}
cp --dereference /usr/lib/aarch64-linux-gnu/libgomp.so.1 {LIBGOMP}
"""
    return docker(*run, "/bin/bash", "-c", prepared + script).text


def test_tcmalloc_is_compiled_for_aarch64_with_pages_of_64_kib(allocators: str, tmp_path: Path) -> None:
    script = """\
LD_PRELOAD=/opt/drivebuild/libtcmalloc.so MALLOCSTATS=1 /bin/true 2>&1 | grep 'Tcmalloc page size'
readlink /opt/drivebuild/libtcmalloc.so
ls /opt/gperftools/share/doc/gperftools/copyright
uname -m
"""
    said = inside(allocators, script).splitlines()
    assert "65536" in said[0], said
    assert said[1:] == [
        "/opt/gperftools/lib/libtcmalloc.so.4",
        "/opt/gperftools/share/doc/gperftools/copyright",
        "aarch64",
    ]
    library = tmp_path / "libtcmalloc.so.4"
    made = docker("create", "--platform", "linux/arm64", allocators, "true").text.strip()
    try:
        docker("cp", f"{made}:/files/opt/gperftools/lib/libtcmalloc.so.4", str(library))
    finally:
        docker("rm", made)
    head = library.read_bytes()[:20]
    assert head[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", head, 18)[0] == EM_AARCH64


@pytest.mark.parametrize(("name", "words"), [("tcmalloc", "--page 65536"), ("none", "")])
def test_the_entrypoint_preloads_it_after_libgomp(allocators: str, name: str, words: str) -> None:
    """A process on aarch64 has exactly that allocator mapped, by the script that asks finished images."""
    script = f"bash /entrypoint python3 -B /in_image/allocator.py {name} {words}"
    said = inside(allocators, script, "--env", f"DRIVEBUILD_ALLOCATOR={name}")
    found = {each["check"]: each for each in map(json.loads, said.splitlines())}
    assert all(each["ok"] for each in found.values()), said
    assert "allocator maps" in found
    if name != "none":
        expected = [LIBGOMP, f"/opt/drivebuild/lib{name}.so"]
        assert found["allocator order"]["detail"] == {"preloaded": expected, "libgomp first": True}

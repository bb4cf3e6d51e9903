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
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from builder import paths
from builder.cli.building import asked_of
from builder.engine.base import ensure_base
from builder.engine.build import Choices
from builder.engine.build import build as build_image
from builder.engine.foreign import check_emulation, own_bases
from builder.engine.host import Engine
from builder.engine.process import Result, SystemRunner
from builder.engine.record import BuildRecord
from builder.errors import BuildError
from builder.plan.make import make_plan
from builder.plan.needs import DebianNeed, PackageNeed, plan_needs
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile
from builder.source.config import Config
from builder.source.contexts import make_contexts
from builder.source.fetch import fetch
from builder.source.network import Network, make_network
from builder.source.store import Store

pytestmark = pytest.mark.docker

BASE = "localhost/drivebuild-test/base:debian-12"
"""On another machine `-arm64` follows."""
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
def plan(catalog: Catalog, engine: Engine) -> tuple[Catalog, Plan]:
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
    made = make_plan(changed, "pivotnet", platform=own.name, architecture="aarch64", options=OPTIONS)
    return changed, replace(made, foreign="" if engine.facts().architecture == "aarch64" else "aarch64")


@pytest.fixture(scope="module")
def emulated(engine: Engine) -> None:
    """Insist on an emulator for aarch64; CI installs one."""
    if engine.facts().architecture == "aarch64":
        return
    try:
        check_emulation("aarch64", None, RUNNER)
    except BuildError as error:
        reason = f"NO EMULATION of aarch64: {error.hint}"
    else:
        return
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
) -> tuple[tuple[str, Path], ...]:
    """Return folders for all that a build needs, from a store; the base is in the engine then."""
    found = dict.fromkeys(need for until in ("uv", "allocators") for need in plan_needs(*plan, "aarch64", until=until))
    needs = [need for need in found if isinstance(need, PackageNeed | DebianNeed)]
    assert [need.package for need in needs if isinstance(need, DebianNeed)] == ["google-perftools"]
    fetch(needs, store, network, RUNNER)
    own = plan[1].platform
    ensure_base(own, engine=engine, runner=RUNNER, say=lambda _line: None, architecture=plan[1].foreign)
    folder = tmp_path_factory.mktemp("contexts")
    made = make_contexts(needs, store, RUNNER, folder=folder)
    places = {one.stage: one.folder for one in made} | {"os-packages": folder / "none"}
    for name in ("lists", "archives"):
        (folder / "none" / name).mkdir(parents=True)
    return tuple(places.items())


def docker(*words: str) -> Result:
    done = RUNNER.run(("docker", *words))
    assert done.code == 0, done.complaint[-4000:]
    return done


def build(
    plan: Plan,
    templates: dict[str, str],
    until: str,
    *,
    tag: str,
    contexts: tuple[tuple[str, Path], ...],
    engine: Engine,
) -> BuildRecord:
    """Build a stage for aarch64 on this machine, as `drivebuild image --arch aarch64 --until …` does."""
    choices = Choices(
        until=until,
        tag=tag,
        contexts=contexts,
        images=tuple(own_bases(plan)),
        offline=True,
        target=plan.foreign,
        asked=asked_of(plan),
    )
    return build_image(plan, render_dockerfile(plan, templates), choices, runner=RUNNER, engine=engine)


def test_uv_of_the_store(
    contexts: tuple[tuple[str, Path], ...],
    plan: tuple[Catalog, Plan],
    templates: dict[str, str],
    tag: str,
    engine: Engine,
) -> None:
    """The wheel that the lock names for aarch64 is fetched here, and runs there."""
    record = build(plan[1], templates, "uv", tag=tag, contexts=contexts, engine=engine)
    assert record.architecture == "aarch64"
    # How long it took says nothing of a machine of that architecture.
    assert record.machine == ("x86_64" if plan[1].foreign else "")
    image = engine.image(tag)
    assert image is not None
    assert image.architecture == "aarch64"
    done = docker("run", "--rm", "--platform", "linux/arm64", "--network", "none", tag, "/opt/uv/bin/uv", "--version")
    assert done.text.startswith("uv ")
    assert "aarch64" in done.text


@pytest.fixture(scope="module")
def allocators(
    contexts: tuple[tuple[str, Path], ...],
    plan: tuple[Catalog, Plan],
    templates: dict[str, str],
    engine: Engine,
) -> Iterator[str]:
    """Build gperftools and the stage that hands it on; return its image."""
    tag = "drivebuild-test/arm-allocators:1"
    build(plan[1], templates, "allocators", tag=tag, contexts=contexts, engine=engine)
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

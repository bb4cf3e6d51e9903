"""Cross-compiled for aarch64: gperftools by the shipped stages on this machine's own processor, run under emulation.

The Python that is cross-compiled is no test but a benchmark, benchmarks/arm64.py: it takes minutes.

Needs qemu-user-static, registered with binfmt_misc, and the distribution's packages.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from builder.cli.building import asked_of
from builder.engine.base import ensure_base
from builder.engine.build import Choices, build
from builder.engine.foreign import check_emulation
from builder.engine.host import Engine
from builder.engine.process import Result, SystemRunner
from builder.engine.record import BuildRecord
from builder.errors import BuildError
from builder.plan.bootstrap import base_name
from builder.plan.cross import cross_built, machine_image
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile

pytestmark = pytest.mark.docker

BASE = "localhost/drivebuild-test/base:debian-12"
"""test_arm.py's, with the same packages: whichever test is first makes it."""
INCLUDED = ("ca-certificates", "python3", "python3-pip", "g++", "libc6-dev", "make", "patch")
RUNNER = SystemRunner()
EM_X86_64, EM_AARCH64 = 62, 183
LIBRARY = "/opt/gperftools/lib/libtcmalloc.so.4"


@pytest.fixture(scope="module")
def plan(catalog: Catalog, engine: Engine) -> Plan:
    """Return a shipped model's plan for aarch64, on a base in which apt finds nothing left to do under emulation."""
    if engine.facts().architecture != "x86_64":
        pytest.skip(f"the engine is {engine.facts().architecture}: for aarch64 nothing is cross-compiled there")
    cpu = catalog.platforms["debian-12-cpu"]
    assert cpu.base.bootstrap is not None
    system = catalog.systems[cpu.system]
    bootstrap = msgspec.structs.replace(cpu.base.bootstrap, include=(*INCLUDED, *system.tcmalloc_build))
    base = msgspec.structs.replace(cpu.base, image=BASE, bootstrap=bootstrap)
    system = msgspec.structs.replace(system, runtime=INCLUDED[:1], tcmalloc=(), jemalloc=(), build=INCLUDED[3:])
    changed = msgspec.structs.replace(
        catalog,
        platforms={**catalog.platforms, cpu.name: msgspec.structs.replace(cpu, base=base)},
        systems={**catalog.systems, cpu.system: system},
    )
    options = {"tcmalloc": "source-package"}
    native = make_plan(changed, "pivotnet", platform=cpu.name, options=options)
    # What is built here has no wheel, and so no lock for that architecture to ask.
    native = replace(native, foreign="aarch64", narrowed=("aarch64",))
    return cross_built(changed, native, target="aarch64", machine="x86_64")


@pytest.fixture(scope="module")
def emulated(plan: Plan, engine: Engine) -> None:
    """Insist on an emulator for aarch64, and make the base."""
    try:
        check_emulation("aarch64", None, RUNNER)
    except BuildError as error:
        reason = f"NO EMULATION of aarch64: {error.hint}"
        if os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    ensure_base(plan.platform, engine=engine, runner=RUNNER, say=lambda _line: None, architecture="aarch64")


def docker(*words: str) -> Result:
    done = RUNNER.run(("docker", *words))
    assert done.code == 0, done.complaint[-4000:]
    return done


@pytest.fixture(scope="module")
def built(
    emulated: None,
    plan: Plan,
    catalog: Catalog,
    templates: dict[str, str],
    engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, BuildRecord]]:
    """Build gperftools for aarch64 as `drivebuild image --arch aarch64 --until tcmalloc` does."""
    none = tmp_path_factory.mktemp("cross") / "none"
    for name in ("lists", "archives"):
        # Then apt asks no mirror where the target's packages are installed; the cross stages go their own way.
        (none / name).mkdir(parents=True)
    own = catalog.platforms["debian-12-cpu"].base.image
    tag = "drivebuild-test/cross-tcmalloc:1"
    choices = Choices(
        until="tcmalloc",
        tag=tag,
        contexts=(("os-packages", none),),
        images=((BASE, base_name(BASE, "aarch64")), (machine_image(plan.platform), own)),
        target="aarch64",
        asked=asked_of(plan),
    )
    yield tag, build(plan, render_dockerfile(plan, templates), choices, runner=RUNNER, engine=engine)
    RUNNER.run(("docker", "image", "rm", tag))


def machine(tag: str, path: str, folder: Path) -> int:
    """Return the ELF machine of a file in an image."""
    made = docker("create", "--platform", "linux/arm64", tag, "true").text.strip()
    try:
        docker("cp", "--follow-link", f"{made}:{path}", str(folder / "file"))
    finally:
        docker("rm", made)
    head = (folder / "file").read_bytes()[:20]
    assert head[:4] == b"\x7fELF"
    return int(struct.unpack_from("<H", head, 18)[0])


def test_the_library_is_the_other_processors(built: tuple[str, BuildRecord], tmp_path: Path) -> None:
    tag, record = built
    assert record.architecture == "aarch64"
    assert {"cross-base", "tcmalloc-cross", "tcmalloc"} <= {stage.name for stage in record.stages}
    assert machine(tag, LIBRARY, tmp_path) == EM_AARCH64


def test_it_has_its_pages_where_it_runs(built: tuple[str, BuildRecord]) -> None:
    """The stage has asked it; so does this, once more and from outside."""
    script = f"uname -m; LD_PRELOAD={LIBRARY} MALLOCSTATS=1 /bin/true 2>&1 | grep 'Tcmalloc page size'"
    run = ("run", "--rm", "--platform", "linux/arm64", "--network", "none", built[0], "/bin/bash", "-c", script)
    said = docker(*run).text.splitlines()
    assert said[0] == "aarch64"
    assert "65536" in said[1]


def test_no_compiler_is_in_what_is_taken(built: tuple[str, BuildRecord]) -> None:
    script = "ls /opt; ls /opt/gperftools/lib"
    said = docker("run", "--rm", "--platform", "linux/arm64", "--network", "none", built[0], "/bin/bash", "-c", script)
    assert "cross" not in said.text
    assert "libtcmalloc.so.4" in said.text


def test_the_compiler_ran_on_this_machines_own_processor(
    built: tuple[str, BuildRecord], plan: Plan, catalog: Catalog, templates: dict[str, str], tmp_path: Path, tag: str
) -> None:
    """Its stage is there already; its programs are this machine's, whatever the image that is made of it says it is."""
    (tmp_path / "Dockerfile").write_text(render_dockerfile(plan, templates), encoding="utf-8")
    own = catalog.platforms["debian-12-cpu"].base.image
    docker(
        *("buildx", "build", "--platform", "linux/arm64", "--target", "cross-base", "--tag", tag, "--load"),
        *("--build-context", f"{machine_image(plan.platform)}=docker-image://{own}"),
        *("--file", str(tmp_path / "Dockerfile"), str(tmp_path)),
    )
    assert machine(tag, "/usr/bin/aarch64-linux-gnu-gcc", tmp_path) == EM_X86_64

"""Real compiles of a toy wheel through the stage that wheels have: cold, again, after a change, and shared."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.compileserver import PASSWORD, serve_compiles
from support.disks import small_disk
from support.engine import stage, toy_plan

from builder.engine.build import Choices, build
from builder.engine.compilecache import SECRET, Folder, Helper, bring, collect, open_folder
from builder.engine.host import Engine
from builder.engine.local import LocalSource
from builder.engine.process import SystemRunner
from builder.engine.record import read_record
from builder.errors import BuildError, UsageError
from builder.plan.compilers import compiler_inputs
from builder.plan.make import make_plan
from builder.plan.stage import StageSpec
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_stage

pytestmark = pytest.mark.docker
BASE = "localhost/drivebuild/base:debian-12"
# What a wheel stage wants, without Python's and torch's own making: a virtual environment that sees the builder's pip.
STAND_INS = f"""\
FROM {BASE} AS python
RUN mkdir /opt/python
FROM build-base AS torch
RUN python3 -m venv --without-pip --system-site-packages /opt/venv
FROM torch AS beside-torch
FROM scratch AS src-ops
ADD https://git.drivebuild.invalid/ops.git#0123456789012345678901234567890123456789 /
"""
# A constructor of an anonymous namespace, and macros of file and date: what differs where anything does.
UNIT = """\
#include <string>
#include <vector>
namespace {{ struct State {{ std::vector<int> values; State() {{ values.push_back({number}); }} }} state; }}
std::string unit{number}() {{ return std::string(__FILE__ __DATE__) + std::to_string(state.values[0]); }}
"""
SETUP = """\
from setuptools import Extension, setup
units = [f"unit{number}.cpp" for number in range(4)]
setup(name="ops", version="1", ext_modules=[Extension("ops", units)])
"""


@dataclass(frozen=True)
class Made:
    """A wheel that was built: its sha256, and what ccache counted, hits and compiles; None without ccache."""

    wheel: str
    counts: tuple[int, int] | None


Make = Callable[..., Made]


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    folder = tmp_path / "ops"
    folder.mkdir()
    (folder / "setup.py").write_text(SETUP)
    for number in range(4):
        (folder / f"unit{number}.cpp").write_text(UNIT.format(number=number))
    return folder


@pytest.fixture
def builder() -> str:
    """Return the name of a system that no builder has ever had: its cache mount is empty."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make(engine: Engine, tag: str, ops: Path, catalog: Catalog, templates: dict[str, str]) -> Make:
    """Return a function that builds the wheel for a system, every time anew."""
    real = {each.name: each for each in make_plan(catalog, "streampetr", platform="debian-12-cpu").stages}
    system = [render_stage(real[name], templates) for name in ("os-packages", "base", "build-base")]
    bare = "FROM beside-torch AS without\nRUN rm /usr/bin/ccache"

    def made(name: str, *, ccache: bool = True, secrets: tuple[tuple[str, Path], ...] = ()) -> Made:
        inputs = {
            "title": "Ops",
            "version": "1",
            "component": "ops",
            "source": "src-ops",
            "path": "",
            "archive": "",
            "pure": False,
            "python": "python",
            "cann_home": "",
            "cann_stage": "",
            # Another variable is another step for BuildKit, and nothing to the compiler.
            "environment": {"NONCE": uuid.uuid4().hex},
            "wheels": (),
            **compiler_inputs(name, "gcc", "gcc", "g++"),
        }
        wheel = StageSpec(name="ops", template="wheel", base="beside-torch" if ccache else "without", inputs=inputs)
        dockerfile = "\n".join([*system, STAND_INS, bare, render_stage(wheel, templates), ""])
        names = ("os-packages", "base", "build-base", "torch", "beside-torch", "src-ops")
        stages = [*map(stage, names), wheel]
        plan = toy_plan(*stages, stage("image", "ops"))
        choices = Choices(until="ops", tag=tag, sources=(LocalSource("src-ops", ops, ""),), secrets=secrets)
        # The next image of this name would leave it without one.
        SystemRunner().run(("docker", "image", "rm", "--force", tag))
        record = build(plan, dockerfile, choices, runner=SystemRunner(), engine=engine)
        words = (
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            tag,
            "sha256sum",
            "/wheels/ops-1-cp311-cp311-linux_x86_64.whl",
        )
        return Made(SystemRunner().run(words).text.split()[0], _counts(Path(record.log).read_text()))

    return made


def _counts(log: str) -> tuple[int, int] | None:
    found = {word: re.search(rf"\| +{word}: +(\d+)", log) for word in ("Hits", "Misses")}
    return (int(found["Hits"][1]), int(found["Misses"][1])) if found["Hits"] and found["Misses"] else None


@pytest.fixture
def helper(templates: dict[str, str]) -> Helper:
    return Helper(runner=SystemRunner(), templates=templates, base=BASE)


def test_the_wheel_is_the_same_with_a_cache_and_without(make: Make, builder: str) -> None:
    plain = make(builder, ccache=False)
    cold, again = make(builder), make(builder)
    assert (plain.counts, cold.counts, again.counts) == (None, (0, 4), (4, 0))
    assert plain.wheel == cold.wheel == again.wheel


def test_after_a_change_only_what_it_concerns_is_compiled(make: Make, builder: str, ops: Path) -> None:
    first = make(builder)
    (ops / "unit2.cpp").write_text(UNIT.format(number=2).replace("push_back(2)", "push_back(7)"))
    second = make(builder)
    assert second.counts == (3, 1)
    assert second.wheel != first.wheel


def test_a_folder_spares_another_builder_every_compile(
    make: Make, builder: str, helper: Helper, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "compiles")
    open_folder(folder)
    first, second = (f"drivebuild-ccache-{name}-gcc" for name in (builder, f"{builder}b"))
    assert bring(folder, first, helper) == 0
    cold = make(builder)
    kept = collect(folder, first, helper)
    assert kept == 8, "a result and a manifest of each"
    assert collect(folder, first, helper) == 0
    (folder.path / first).rename(folder.path / second)
    assert bring(folder, second, helper) == kept
    warm = make(f"{builder}b")
    assert warm.counts == (4, 0)
    assert warm.wheel == cold.wheel
    assert collect(folder, second, helper) == 0
    assert not list(folder.path.glob(".incoming-*"))


def test_what_is_no_compile_stays_out_of_the_mount(make: Make, builder: str, helper: Helper, tmp_path: Path) -> None:
    folder, cache = Folder(tmp_path / "compiles"), f"drivebuild-ccache-{builder}-gcc"
    open_folder(folder)
    make(builder)
    collect(folder, cache, helper)
    (folder.path / cache / "ccache.conf").write_text("prefix_command = false\n")
    (folder.path / cache / "0" / "evil").mkdir(parents=True)
    (folder.path / cache / "0" / "evil" / "fileR").write_text("")
    (folder.path / cache).rename(folder.path / f"{cache}-other")
    cache = f"{cache}-other"
    assert bring(folder, cache, helper) == 8
    command = ("docker", "buildx", "build", "--progress=plain", "--output", "type=cacheonly", "-")
    mount = f"--mount=type=cache,id={cache},target=/ccache"
    script = f"FROM {BASE}\nRUN {mount} find /ccache -printf 'found %p\\n'; : {builder}\n"
    listed = SystemRunner().run(command, stdin=script.encode()).complaint
    assert len(re.findall(r"found \S+[RM]\n", listed)) == 8
    assert "found /ccache/ccache.conf" not in listed
    assert "evil" not in listed
    assert "incoming" not in listed


def test_a_server_spares_another_builder_every_compile(
    make: Make, builder: str, engine: Engine, tag: str, tmp_path: Path
) -> None:
    address = SystemRunner().run(
        ("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    )
    secret = tmp_path / "url"
    with serve_compiles(address.text) as server:
        secret.write_text(server.url)
        cold = make(builder, secrets=((SECRET, secret),))
        assert cold.counts == (0, 4)
        assert (len(server.files), server.refused) == (8, 0)
        warm = make(f"{builder}b", secrets=((SECRET, secret),))
        assert warm.counts == (4, 0)
        assert server.hits == 8
    assert warm.wheel == cold.wheel
    history = SystemRunner().run(("docker", "history", "--no-trunc", tag)).text
    record = read_record(tag)
    assert record is not None
    assert PASSWORD not in history + Path(record.log).read_text() + repr(record)
    gone = make(f"{builder}c", secrets=((SECRET, secret),))
    assert gone.counts == (0, 4), "a server that is gone is done without"
    assert gone.wheel == cold.wheel


def test_a_folder_on_a_full_disk_stays_as_it_was(make: Make, builder: str, helper: Helper, tmp_path: Path) -> None:
    make(builder)
    with small_disk(tmp_path / "disk", "32k") as disk:
        folder = Folder(disk / "compiles")
        open_folder(folder)
        with pytest.raises(BuildError) as caught:
            collect(folder, f"drivebuild-ccache-{builder}-gcc", helper)
        assert "o space left on device" in caught.value.message
        assert "another disk" in caught.value.hint
        assert [path.name for path in folder.path.rglob("*") if path.is_file()] == ["CACHEDIR.TAG"]


def test_a_folder_that_cannot_be_written_is_said_before_the_build(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        folder = Folder(disk / "compiles")
        open_folder(folder)
        subprocess.run(("mount", "-o", "remount,ro", str(disk)), check=True)
        with pytest.raises(UsageError, match="Read-only file system"):
            open_folder(folder)

"""Real compiles of a toy extension by the stages that wheels have: LTO, counting, a profile, and every bad profile."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.engine import stage, toy_plan

from builder import paths
from builder.engine.build import Choices, build
from builder.engine.host import Engine
from builder.engine.local import LocalSource
from builder.engine.process import SystemRunner
from builder.engine.profiles import FILE, Provenance, keep
from builder.engine.profiling import Merged, compiler_in, merge, run_operators
from builder.errors import BuildError, RunError
from builder.plan.make import make_plan
from builder.plan.stage import StageSpec
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_stage

pytestmark = pytest.mark.docker
BASE = "localhost/drivebuild/base:debian-12"
SCRIPT = paths.TEMPLATES / "scripts" / "optimised.py"
# What a wheel stage wants, without Python's and torch's own making: a virtual environment that sees the builder's pip.
STAND_INS = f"""\
FROM {BASE} AS python-stock
RUN mkdir /opt/python
FROM build-base AS torch
RUN python3 -m venv --without-pip --system-site-packages /opt/venv
FROM scratch AS src-ops
ADD https://git.drivebuild.invalid/ops.git#0123456789012345678901234567890123456789 /
"""
RUNNABLE = """\
FROM build-base AS image
RUN --mount=type=bind,from=ops,source=/wheels,target=/wheels \\
    python3 -m pip install --break-system-packages --no-index --no-cache-dir /wheels/*.whl && \\
    ln -s /usr/bin/python3 /usr/local/bin/python
"""
# A library that needs no headers of Python's; ctypes calls it.
OPS = """\
#include <random>
long rare(long count);
__attribute__((noinline)) long busy(long count) {
    std::minstd_rand draw(7);
    long sum = 0;
    for (long i = 0; i < count; i++) {
        if (draw() % 16 == 0) sum += draw() % 5; else sum ^= i;
    }
    return sum;
}
__attribute__((noinline)) long rare(long count) {
    std::minstd_rand draw(count);
    while (draw() % 16) count++;
    return count;
}
extern "C" long run(long count) { return count < 0 ? rare(count) : busy(count); }
"""
# Another shape of the same function: its counts mean nothing for this one.
CHANGED = OPS.replace("if (draw() % 16 == 0)", "if (draw() % 99 == 98) return rare(sum); if (draw() % 16 == 0)")
SETUP = """\
from setuptools import Extension, setup
setup(name="ops", version="1", ext_modules=[Extension("ops", ["ops.cpp"], language="c++", extra_compile_args=[])])
"""
LOAD = "import ctypes, importlib.util, os\nops = ctypes.CDLL(importlib.util.find_spec('ops').origin)\n"
WORKLOAD = "for number in range(30): ops.run(20000)\n"


@dataclass(frozen=True)
class Toy:
    """A folder with the extension's source, and what builds it."""

    source: Path
    make: Callable[..., str]
    tag: str
    toolchain: str


@pytest.fixture
def toy(engine: Engine, tag: str, tmp_path: Path, catalog: Catalog, templates: dict[str, str], toolchain: str) -> Toy:
    source = tmp_path / "ops"
    source.mkdir()
    (source / "setup.py").write_text(SETUP)
    (source / "ops.cpp").write_text(OPS)

    def make(variant: str, *, profile: Path | None = None, sha256: str = "", hot: tuple[str, ...] = ("busy",)) -> str:
        """Build; return the log."""
        planned = make_plan(catalog, "streampetr", platform="debian-12-cpu", variant=variant)
        real = {each.name: each for each in planned.stages}
        inputs = dict(real["mmcv"].inputs)
        how = {**inputs["optimise"], "hot": hot, "profile": sha256}
        inputs |= {"component": "ops", "source": "src-ops", "archive": "", "optimise": how}
        # Another variable is another step for BuildKit, and nothing to the compiler.
        inputs["environment"] = {"NONCE": uuid.uuid4().hex}
        inputs["cache"] = f"test-{tmp_path.name}"
        wheel = StageSpec(name="ops", template="wheel", base="toolchain", inputs=inputs)
        wanted = ("os-packages", "base", "build-base", "toolchain", "optimised", "profile")
        names = [each for each in wanted if each in real]
        dockerfile = "\n".join(
            [
                *(render_stage(real[each], templates) for each in names),
                STAND_INS,
                render_stage(wheel, templates),
                RUNNABLE,
                "",
            ]
        )
        stages = [*(stage(each) for each in (*names, "torch", "src-ops")), wheel]
        contexts = (("profile", profile),) if profile else ()
        choices = Choices(tag=tag, sources=(LocalSource("src-ops", source, ""),), contexts=contexts)
        plan = toy_plan(*stages, stage("image", "ops"))
        record = build(plan, dockerfile, choices, runner=SystemRunner(), engine=engine)
        return Path(record.log).read_text()

    return Toy(source, make, tag, toolchain)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return folder(tmp_path, "raw")


def folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


def work(toy: Toy, raw: Path, text: str = WORKLOAD) -> None:
    """Run a workload in the toy's image."""
    inside = toy.source.parent / "inside"
    inside.mkdir(exist_ok=True)
    (inside / "ops_training.py").write_text(LOAD + text)
    run_operators(toy.tag, inside, raw, seconds=1, runner=SystemRunner(), feed=lambda _: None)


def merged(toy: Toy, raw: Path, *, processes: int = 1, hot: tuple[str, ...] = ("busy",)) -> tuple[Path, Merged]:
    output = raw.parent / "merged"
    output.mkdir(exist_ok=True)
    found = merge(
        raw, output, toolchain=toy.toolchain, script=SCRIPT, processes=processes, hot=hot, runner=SystemRunner()
    )
    return output, found


def proofs(log: str, key: str) -> dict[str, object]:
    """Return what optimised.py said in a build's log, the object that has a key."""
    texts = [line[line.index("{") :] for line in log.splitlines() if f'"{key}"' in line and "{" in line]
    found: dict[str, object] = json.loads(texts[-1])
    return found


def test_from_counting_to_a_library_laid_out_by_counts(toy: Toy, raw: Path) -> None:
    made = proofs(toy.make("pgo-instrument"), "libraries")
    assert (made["level"], made["objects"]) == ("instrument", 1)
    work(toy, raw)
    assert [path.suffix for path in raw.iterdir()] == [".profraw"]
    output, found = merged(toy, raw)
    assert (found.raw, found.processes, found.libraries) == (1, 1, 1)
    assert 0 < found.ran < found.functions
    compiler = compiler_in(toy.toolchain, SystemRunner())
    assert "clang version 19" in compiler.version
    kept = keep(output / FILE, Provenance(sha256=found.sha256, compiler=compiler))
    log = toy.make("pgo", profile=kept.folder, sha256=found.sha256)
    (library,) = proofs(log, "libraries")["libraries"].values()  # type: ignore[attr-defined]
    assert library["hot"] > 0
    assert proofs(log, "ran")["sha256"] == found.sha256
    plain = proofs(toy.make("lto-full"), "libraries")
    (library,) = plain["libraries"].values()  # type: ignore[attr-defined]
    assert (plain["level"], library["hot"]) == ("lto", 0)
    # What a build takes is what was kept: neither a compiler's other release, nor bits that fell over.
    wrong = "another compiler's: Debian clang version 19.1.7 (3~deb12u1) 0123"
    other = folder(raw.parent, "other")
    shutil.copyfile(kept.folder / FILE, other / FILE)
    (other / "provenance.json").write_text(json.dumps({"compiler": {"version": compiler.version, "sha256": "0123"}}))
    with pytest.raises(BuildError, match="another compiler's") as caught:
        toy.make("pgo", profile=other)
    assert wrong.partition("Debian")[0] in caught.value.message
    (other / "provenance.json").unlink()
    with pytest.raises(BuildError, match="and 0000 is meant"):
        toy.make("pgo", profile=other, sha256="0000")
    with pytest.raises(BuildError, match="does not cover the hot functions: nothing ran that matches rare"):
        toy.make("pgo", profile=other, hot=("busy", "rare"))
    whole = (kept.folder / FILE).read_bytes()
    for size in (30, len(whole) // 2, len(whole) - 40):
        (other / FILE).write_bytes(whole[:size])
        with pytest.raises(BuildError, match="truncated, damaged, or of another version"):
            toy.make("pgo", profile=other)
    (other / FILE).write_bytes(b"")
    with pytest.raises(BuildError, match="the profile is empty; make one with `drivebuild profile`"):
        toy.make("pgo", profile=other)
    with pytest.raises(BuildError, match="no profile was given"):
        toy.make("pgo")
    # Another commit of the source.
    (toy.source / "ops.cpp").write_text(CHANGED)
    with pytest.raises(BuildError, match="the profile is of another source: 1 functions have changed since"):
        toy.make("pgo", profile=kept.folder)


def test_a_flag_that_is_ignored_is_an_error_and_no_slower_image(toy: Toy) -> None:
    setup = toy.source / "setup.py"
    setup.write_text(SETUP.replace("args=[]", "args=['-fno-lto']"))
    with pytest.raises(BuildError, match="LTO did not happen: 1 of 1 object files are machine code"):
        toy.make("lto-full")
    setup.write_text(SETUP.replace("args=[]", "args=['-fno-profile-generate']"))
    with pytest.raises(BuildError, match="has no counters: it was not instrumented"):
        toy.make("pgo-instrument")


def test_a_run_that_does_not_end_well_leaves_no_profile(toy: Toy, raw: Path) -> None:
    toy.make("pgo-instrument")
    with pytest.raises(RunError, match="ended with 137, so its profile is discarded"):
        work(toy, raw, "ops.run(5)\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(RunError, match="there is no raw profile"):
        merged(toy, raw)
    with pytest.raises(RunError, match="ended with 143, so its profile is discarded"):
        work(toy, raw, "ops.run(5)\nos.kill(os.getpid(), 15)\n")
    with pytest.raises(RunError, match=r"ended with 1, so its profile is discarded.*no operator"):
        work(toy, raw, "ops.run(5)\nraise SystemExit('no operator')\n")
    for path in raw.iterdir():
        path.unlink()
    two = "child = os.fork()\nops.run(9999)\nif not child: os._exit(0)\nos.waitpid(child, 0)\n"
    work(toy, raw, two)
    with pytest.raises(RunError, match="raw profiles of 1 processes, and 2 ran"):
        merged(toy, raw, processes=2)
    (name,) = [path.name for path in raw.iterdir()]
    torn = raw / name.replace(".profraw", "9.profraw")
    torn.write_bytes((raw / name).read_bytes()[:200])
    with pytest.raises(RunError, match=rf"1 of 2 raw profiles are damaged .*{torn.name}"):
        merged(toy, raw)
    torn.write_bytes(b"")
    with pytest.raises(RunError, match=f"{torn.name} is empty"):
        merged(toy, raw)
    torn.unlink()
    with pytest.raises(RunError, match="does not cover the hot functions: nothing ran that matches rare"):
        merged(toy, raw, hot=("busy", "rare"))
    assert merged(toy, raw)[1].raw == 1

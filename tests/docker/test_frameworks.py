"""The stages that compile PyTorch and torch_npu, for real over toys that setuptools and CMake build in the same way.

torch_npu's own switches for LTO and profiles are upstream's real lines, cut out of a git mirror of it; where there is
none, that part is skipped and says so. The frameworks themselves take hours and a git host: nobody built them here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.engine import stage, toy_plan
from support.upstreams import git, mirror_folder

from builder import paths
from builder.engine.build import Choices, build
from builder.engine.host import Engine
from builder.engine.local import LocalSource
from builder.engine.process import SystemRunner
from builder.errors import BuildError
from builder.plan.make import make_plan
from builder.plan.stage import StageSpec
from builder.recipe.types import Catalog, GitSource
from builder.render.dockerfile import render_stage

pytestmark = pytest.mark.docker
BASE = "localhost/drivebuild/base:debian-12"
STAND_INS = f"""\
FROM {BASE} AS python-stock
RUN mkdir /opt/python
FROM build-base AS torch
RUN python3 -m venv --without-pip --system-site-packages /opt/venv
FROM scratch AS src-torch
ADD https://git.drivebuild.invalid/torch.git#0123456789012345678901234567890123456789 /
FROM scratch AS src-npu
ADD https://git.drivebuild.invalid/npu.git#0123456789012345678901234567890123456789 /
"""
# As PyTorch's: flags and tools come as variables of the environment, and go to CMake as they are.
TORCH_SETUP = """\
import os, shutil, subprocess
from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

class Build(build_py):
    def run(self):
        super().run()
        given = ["-D%s=%s" % item for item in os.environ.items() if item[0].startswith(("USE_", "CMAKE_"))]
        abi = "-DGLIBCXX_USE_CXX11_ABI=" + os.environ["_GLIBCXX_USE_CXX11_ABI"]
        subprocess.check_call(["cmake", "-S", ".", "-B", "build", abi, *given])
        subprocess.check_call(["cmake", "--build", "build", "-j", os.environ["MAX_JOBS"]])
        folder = os.path.join(self.build_lib, "torch", "lib")
        os.makedirs(folder)
        for name in ("libc10.so", "libtorch_cpu.so", "libtorch_python.so"):
            shutil.copy(os.path.join("build", "caffe2", name), folder)

class Binary(Distribution):
    def has_ext_modules(self): return True

assert os.environ["PYTORCH_BUILD_NUMBER"] == "1" and not os.path.exists(".git")
version = os.environ["PYTORCH_BUILD_VERSION"]
setup(name="torch", version=version, packages=["torch"], cmdclass={"build_py": Build}, distclass=Binary)
"""
TORCH_CMAKE = """\
cmake_minimum_required(VERSION 3.18)
project(Torch CXX C)
add_compile_definitions(_GLIBCXX_USE_CXX11_ABI=${GLIBCXX_USE_CXX11_ABI})
add_subdirectory(caffe2)
"""
CAFFE2_CMAKE = """\
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_library(helper STATIC helper.cpp)
foreach(name c10 torch_cpu torch_python)
  add_library(${name} SHARED ${name}.cpp)
  target_link_libraries(${name} PRIVATE helper)
endforeach()
"""
TORCH_INIT = """\
import types
__version__ = "toy"
_C = types.SimpleNamespace(_GLIBCXX_USE_CXX11_ABI=False)
__config__ = types.SimpleNamespace(show=lambda: "toy")
class ones:
    def __init__(self, rows, columns): self.total = None
    def __matmul__(self, other): self.total = 64 ** 3; return self
    def sum(self): return self.total
"""
TORCH = {
    "setup.py": TORCH_SETUP,
    "CMakeLists.txt": TORCH_CMAKE,
    "torch/__init__.py": TORCH_INIT,
    "caffe2/CMakeLists.txt": CAFFE2_CMAKE,
    "caffe2/helper.cpp": "int helper(int value) { return value * 3; }\n",
    "caffe2/c10.cpp": "int helper(int); namespace c10 { int fine() { return helper(1); } }\n",
    "caffe2/torch_cpu.cpp": "int helper(int); namespace at { int new_qtensor() { return helper(2); } }\n",
    "caffe2/torch_python.cpp": "int helper(int); namespace torch { int python() { return helper(3); } }\n",
}
NPU_SETUP = """\
import os, shutil, subprocess, torch
from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

class Build(build_py):
    def run(self):
        super().run()
        words = ["-DCMAKE_BUILD_TYPE=Release"]
        words += ["-DENABLE_LTO=on"] if os.environ.get("ENABLE_LTO") == "TRUE" else []
        words += ["-DPGO_MODE=" + os.environ["PGO_MODE"]] if "PGO_MODE" in os.environ else []
        subprocess.check_call(["cmake", "-S", ".", "-B", "build", *words])
        subprocess.check_call(["make", "-C", "build", "-j", os.environ["MAX_JOBS"]])
        folder = os.path.join(self.build_lib, "torch_npu", "lib")
        os.makedirs(folder)
        shutil.copy("build/libtorch_npu.so", folder)

class Binary(Distribution):
    def has_ext_modules(self): return True

assert torch.__version__ == "toy" and os.environ["BUILD_WITHOUT_SHA"]
setup(name="torch_npu", version="2.1.0.post12", packages=["torch_npu"], cmdclass={"build_py": Build}, distclass=Binary)
"""
# `SWITCHES` is upstream's own text.
NPU_CMAKE = """\
cmake_minimum_required(VERSION 3.18)
project(TORCHNPU CXX C)
SWITCHES
add_compile_definitions(_GLIBCXX_USE_CXX11_ABI=0)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_library(torch_npu SHARED npu.cpp)
"""
NPU = {
    "setup.py": NPU_SETUP,
    "torch_npu/__init__.py": "",
    "npu.cpp": "#include <string>\nnamespace c10 { void touch(const std::string &); }\n"
    'void run(int count) { for (int i = 0; i < count; i++) c10::touch("x"); }\n',
}
Make = Callable[..., str]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def mirror() -> Path:
    """Return a git repository with torch_npu's own history."""
    found = mirror_folder() / "Ascend+pytorch" / "repo"
    if not found.is_dir():
        reason = "NO UPSTREAMS: no mirror of torch_npu; DRIVEBUILD_UPSTREAMS names the folder of mirrors"
        if os.environ.get("DRIVEBUILD_TEST_UPSTREAMS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def torch_npu_sources(catalog: Catalog) -> dict[str, GitSource]:
    return {
        name: source
        for name, source in catalog.sources.items()
        if name.startswith("torch-npu-") and isinstance(source, GitSource)
    }


def switches(mirror: Path, commit: str, *, keep: bool = False) -> str:
    """Return upstream's lines about LTO and profiles, after the edit for a compiler without -fGNU-compatibility."""
    text = git(mirror, "show", f"{commit}:CMakeLists.txt")
    start = text.index("SET(CMAKE_CXX_FLAGS_RELEASE ")
    lines = text[start : text.index("# check and set CMAKE_CXX_STANDARD")]
    return lines if keep else lines.replace("-fGNU-compatibility ", "")


@pytest.fixture
def make(engine: Engine, tag: str, tmp_path: Path, catalog: Catalog, templates: dict[str, str]) -> Make:
    """Return a function that builds the toys by the real stages and returns the log."""

    def made(variant: str, npu: dict[str, str], *, until: str = "torch-npu", **changes: Any) -> str:
        planned = {each.name: each for each in make_plan(catalog, "streampetr", variant=variant).stages}
        cpu = make_plan(catalog, "streampetr", platform="debian-12-cpu", variant=variant)
        real = {each.name: each for each in cpu.stages}
        names = [each for each in ("os-packages", "base", "build-base", "toolchain", "optimised") if each in real]
        texts = [render_stage(real[each], templates) for each in names]
        specs = []
        for name, source in (("pytorch", "src-torch"), ("torch-npu", "src-npu")):
            inputs = dict(planned[name].inputs) | {"source": source, "path": "", "tag": "cp311"}
            inputs |= {"cache": f"test-{tmp_path.name}", "room": {"memory": 1, "disk": 1, "each": 1}} | changes
            # Another variable is another step for BuildKit, and nothing to the compiler.
            inputs["environment"] = {**inputs["environment"], "NONCE": uuid.uuid4().hex}
            specs.append(StageSpec(name=name, template=planned[name].template, base="toolchain", inputs=inputs))
        tools = names.index("toolchain")
        dockerfile = "\n".join(
            [*texts[:tools], STAND_INS, *texts[tools:], *(render_stage(each, templates) for each in specs), ""]
        )
        folders = {"src-torch": write(tmp_path / "torch", TORCH), "src-npu": write(tmp_path / "npu", NPU | npu)}
        choices = Choices(
            until=until, tag=tag, sources=tuple(LocalSource(name, path, "") for name, path in folders.items())
        )
        stages = (*(stage(each) for each in (*names, "torch", "src-torch", "src-npu")), *specs, stage("image"))
        record = build(toy_plan(*stages), dockerfile, choices, runner=SystemRunner(), engine=engine)
        return Path(record.log).read_text()

    return made


def apply(step: Mapping[str, Any], tree: Path, name: str, record: Path) -> None:
    """Do one edit as the stage does it."""
    script = [sys.executable, "-I", str(paths.TEMPLATES / "scripts" / "strict_apply.py"), "edit", "--tree", "."]
    words = ["--file", step["file"], "--count", str(step["count"]), "--find", step["find"]]
    words += ["--replace", step["replace"], "--upstream", name, "--record", str(record)]
    done = subprocess.run([*script, *words], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_edit_for_a_plain_clang_fits_every_release(mirror: Path, catalog: Catalog, tmp_path: Path) -> None:
    """On Ubuntu the compilers differ in it; strict_apply.py refuses what is not there exactly as often."""
    seen = 0
    for platform, model in (("cann-8.0.0", "tpvformer"), ("cann-8.1.rc1", "streampetr"), ("cann-8.2.rc1", "panoocc")):
        plan = make_plan(catalog, model, platform=f"{platform}-ubuntu22.04", variant="lto-full")
        changed = next(each for each in plan.stages if each.name == "torch-npu-source")
        name = changed.inputs["source"].removeprefix("src-")
        tree = tmp_path / name
        tree.mkdir()
        for file in ("CMakeLists.txt", "setup.py"):
            text = git(mirror, "show", f"{torch_npu_sources(catalog)[name].commit}:{file}")
            (tree / file).write_text(text)
        for step in changed.inputs["steps"]:
            apply(step, tree, name, tmp_path / "applied")
        assert "-fGNU-compatibility" not in (tree / "CMakeLists.txt").read_text()
        # The first release takes as many jobs as there are processors, whatever memory there is.
        assert re.search(r"os\.(getenv\(|environ\[)[\"']MAX_JOBS[\"']", (tree / "setup.py").read_text())
        seen += 1
    assert seen == len(torch_npu_sources(catalog))
    openeuler = make_plan(catalog, "streampetr", variant="lto-full")
    assert "torch-npu-source" not in openeuler.names, "both its compilers know the flag"


def test_every_release_is_the_version_that_the_locks_name(mirror: Path, catalog: Catalog) -> None:
    component = catalog.components["torch-npu"]
    for version, origin in component.versions.items():
        source = torch_npu_sources(catalog)[str(origin.npu)]
        setup = git(mirror, "show", f"{source.commit}:setup.py")
        assert f"VERSION = '{version}'" in setup
        for word in ("BUILD_WITHOUT_SHA", "ENABLE_LTO", "PGO_MODE"):
            assert f'"{word}"' in setup
        assert "default.profdata" in git(mirror, "show", f"{source.commit}:CMakeLists.txt")


def test_both_are_compiled_with_lto_and_proved(mirror: Path, catalog: Catalog, make: Make) -> None:
    commit = torch_npu_sources(catalog)["torch-npu-7.0.0"].commit
    cmake = {"CMakeLists.txt": NPU_CMAKE.replace("SWITCHES", switches(mirror, commit))}
    log = make("lto-full", cmake)
    assert '"level": "lto", "libraries": {"torch/lib/libc10.so"' in log
    assert '"torch_npu/lib/libtorch_npu.so"' in log
    assert "compile jobs:" in log
    counting = make("pgo-instrument", cmake)
    assert counting.count('"level": "instrument"') >= 2
    with pytest.raises(BuildError, match="unknown argument: '-fGNU-compatibility'"):
        make("lto-full", {"CMakeLists.txt": NPU_CMAKE.replace("SWITCHES", switches(mirror, commit, keep=True))})
    # Its own build without the switch is plain; so is one whose flags are lost on the way.
    with pytest.raises(BuildError, match="LTO did not happen: 1 of 1 object files are machine code"):
        make("lto-full", {"CMakeLists.txt": NPU_CMAKE.replace("SWITCHES", "")})


def test_what_is_dropped_and_a_small_machine_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildError, match="wants about 99999 GiB of free memory"):
        make("lto-full", {"CMakeLists.txt": ""}, until="pytorch", room={"memory": 99999, "disk": 1, "each": 1})
    monkeypatch.setitem(TORCH, "caffe2/torch_cpu.cpp", TORCH["caffe2/torch_cpu.cpp"].replace("new_qtensor", "other"))
    with pytest.raises(BuildError, match="at::new_qtensor is gone"):
        make("lto-full", {"CMakeLists.txt": ""}, until="pytorch")

"""python_sysconfig.py: an interpreter that clang compiled names gcc, and says of itself what is true."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder import paths

TOOLS = "/opt/toolchain/bin"
NAMES = [("clang++", "g++"), ("clang", "gcc"), ("llvm-ar", "ar")]
# As CPython 3.11.2's configure and Makefile left them.
VARIABLES = {
    "CC": f"{TOOLS}/clang",
    "CXX": f"{TOOLS}/clang++",
    "AR": f"{TOOLS}/llvm-ar",
    "LDSHARED": f"{TOOLS}/clang -shared",
    "BLDSHARED": f"{TOOLS}/clang -shared --ld-path={TOOLS}/ld.lld -Wl,-z,keep-text-section-prefix -flto=thin -g0",
    "LINKCC": f"{TOOLS}/clang -no-pie",
    "LLVM_PROF_MERGER": f"{TOOLS}/llvm-profdata merge -output=code.profclangd *.profclangr",
    "CONFIG_ARGS": f"'--with-lto=thin' 'CC={TOOLS}/clang'",
    "Py_ENABLE_SHARED": 0,
}


@pytest.fixture
def script() -> dict[str, Any]:
    """Return the names of the script, which is no module of the package."""
    return runpy.run_path(str(paths.TEMPLATES / "scripts" / "python_sysconfig.py"))


def test_the_table_of_sysconfig(script: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "_sysconfigdata__linux_x86_64-linux-gnu.py"
    file.write_text(f"# generated\nbuild_time_vars = {VARIABLES!r}\n")
    rewrite: Callable[..., list[str]] = script["rewrite_data"]
    assert rewrite(str(file), TOOLS, NAMES) == []
    found = runpy.run_path(str(file))["build_time_vars"]
    assert (found["CC"], found["CXX"], found["AR"], found["LDSHARED"]) == ("gcc", "g++", "ar", "gcc -shared")
    assert found["BLDSHARED"] == "gcc -shared -Wl,-z,keep-text-section-prefix -flto=thin -g0"
    assert found["LLVM_PROF_MERGER"].startswith("llvm-profdata merge")
    assert found["Py_ENABLE_SHARED"] == 0
    # how it was made is no instruction to anybody
    assert found["CONFIG_ARGS"] == VARIABLES["CONFIG_ARGS"]


def test_the_makefile(script: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "Makefile"
    file.write_text("".join(f"{name}=\t{value}\n" for name, value in VARIABLES.items()) + "X=/opt/toolchain/bin-else\n")
    rewrite: Callable[..., list[str]] = script["rewrite_text"]
    # what is left is returned, and stops the build
    assert rewrite(str(file), TOOLS, NAMES) == ["X=/opt/toolchain/bin-else"]
    lines = file.read_text().splitlines()
    assert lines[:3] == ["CC=\tgcc", "CXX=\tg++", "AR=\tar"]
    assert f"CONFIG_ARGS=\t{VARIABLES['CONFIG_ARGS']}" in lines


@pytest.mark.parametrize("tool", ["clang-19", "clang-cpp", "clang++-19"])
def test_another_tool_is_not_half_replaced(tool: str, script: dict[str, Any]) -> None:
    replaced: Callable[..., str] = script["replaced"]
    assert replaced(f"{TOOLS}/{tool} -c", TOOLS, NAMES) == f"{TOOLS}/{tool} -c"

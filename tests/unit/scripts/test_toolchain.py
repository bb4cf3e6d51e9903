"""toolchain.py: tools of one set are taken, and what is wrong of any other is said, with GCC and with tools made up."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder import paths
from builder.plan.toolchain import tools
from builder.recipe.types import Catalog

SCRIPT = paths.TEMPLATES / "scripts" / "toolchain.py"
MACHINE = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
GCC = ("gcc", "g++", "gcc-ar", "gcc-ranlib", "gcc-nm")
MISSING = [name for name in GCC if shutil.which(name) is None]
needs_gcc = pytest.mark.skipif(bool(MISSING), reason=f"NOT TESTED, a compiler is missing: {', '.join(MISSING)}")
# What the tools of Debian's LLVM 19 print, and those of BiSheng as its guide shows it.
SAYS = {
    "clang": "Debian clang version 19.1.7 (3~deb12u1)",
    "clang++": "Debian clang version 19.1.7 (3~deb12u1)",
    "llvm-ar": "Debian LLVM version 19.1.7\n  Optimized build.",
    "llvm-ranlib": "Debian LLVM version 19.1.7",
    "llvm-nm": "llvm-nm, compatible with GNU nm\nDebian LLVM version 19.1.7",
    "ld.lld": "Debian LLD 19.1.7 (compatible with GNU linkers)",
    "llvm-profdata": "llvm-profdata\nDebian LLVM version 19.1.7",
}


def program(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def looked_at(home: Path, **recipe: Any) -> tuple[int, str]:
    """Run the script over a recipe; return its exit code and what it said."""
    home.mkdir(exist_ok=True)
    known = {
        "name": "mine",
        "family": "gcc",
        "version": "1",
        "marker": "",
        "architectures": [MACHINE],
        "gnu_compatibility": False,
        "runtime": [],
    }
    (home / "recipe.json").write_text(json.dumps(known | recipe))
    done = subprocess.run([sys.executable, SCRIPT, home], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def llvm(folder: Path, **changed: str) -> dict[str, str]:
    """Return tools that only say their versions; a tool that is changed to nothing is not there."""
    said = SAYS | {name.replace("_", "-"): text for name, text in changed.items()}
    folder.mkdir(exist_ok=True)
    return {
        name: program(folder, name, f"cat <<'EOF'\n{text}\nEOF") if text else str(folder / name)
        for name, text in said.items()
    }


@needs_gcc
def test_gcc_is_taken_by_its_paths(tmp_path: Path) -> None:
    gcc = {name: shutil.which(name) for name in GCC}
    code, said = looked_at(tmp_path, tools=gcc)
    assert code == 0, said
    assert {path.name: str(path.readlink()) for path in (tmp_path / "bin").iterdir()} == gcc
    found = json.loads((tmp_path / "toolchain.json").read_text())
    assert found["name"] == "mine"
    assert "gcc" in found["version"].lower()
    assert re.fullmatch("[0-9a-f]{64}", found["sha256"])


@needs_gcc
@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("-flto", "-flto is ignored: helper.o has no intermediate code"),
        ("-fprofile-generate", "a profile does not work"),
    ],
)
def test_a_compiler_that_ignores_an_option_is_found_out(word: str, complaint: str, tmp_path: Path) -> None:
    real = shutil.which("gcc")
    deaf = f'for word in "$@"; do shift; [ "$word" = {word} ] || set -- "$@" "$word"; done; exec {real} "$@"'
    gcc = {name: shutil.which(name) for name in GCC} | {"gcc": program(tmp_path, "deaf", deaf)}
    code, said = looked_at(tmp_path / "home", tools=gcc)
    assert code == 1
    assert f"toolchain mine: {complaint}" in said
    assert not (tmp_path / "home" / "bin").exists()


@pytest.mark.parametrize(
    ("changed", "recipe", "complaint"),
    [
        ({"llvm_profdata": ""}, {}, "missing, or no program: {folder}/llvm-profdata"),
        ({"llvm_profdata": "LLVM version 14.0.6"}, {}, "the tools are not of one version: "),
        ({"ld.lld": "a linker"}, {}, "ld.lld unknown"),
        ({}, {"version": "17"}, "the compiler is not of version 17: it says 'Debian clang version 19.1.7"),
        ({}, {"version": "9"}, "the compiler is not of version 9"),
        ({}, {"marker": "BiSheng"}, "the compiler does not call itself BiSheng: it says 'Debian clang"),
        ({}, {"architectures": ["riscv"]}, "it exists for riscv only; this is"),
        ({}, {"runtime": ["/nowhere/libomp.so"]}, "missing, or no program: /nowhere/libomp.so"),
        ({}, {}, "{folder}/clang ends well and writes no helper.o"),
    ],
)
def test_what_is_wrong_is_said(changed: dict[str, str], recipe: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    values = {"family": "clang", "version": "19", "tools": llvm(folder, **changed)} | recipe
    code, said = looked_at(tmp_path / "home", **values)
    assert code == 1
    assert f"toolchain mine: {complaint.format(folder=folder)}" in said or complaint in said.partition(": ")[2]
    assert not (tmp_path / "home" / "bin").exists()


def test_bisheng_is_known_by_its_name_and_its_llvm_by_its_version(tmp_path: Path) -> None:
    """Its own number is the compiler's; the other tools say LLVM's."""
    clang = "BiSheng Enterprise 4.1.0.B009 clang version 17.0.6 (clang-5e5a5a4a6ea1)"
    said = {name: text.replace("19.1.7", "17.0.6") for name, text in SAYS.items()} | {"clang": clang, "clang++": clang}
    changed = {name.replace("-", "_"): text for name, text in said.items()}
    recipe = {"family": "clang", "version": "4.1.0", "marker": "BiSheng", "tools": llvm(tmp_path / "tools", **changed)}
    _, words = looked_at(tmp_path / "home", **recipe)
    # everything that can be asked was right: these tools compile nothing
    assert "ends well and writes no helper.o" in words


def test_every_toolchain_has_the_tools_of_its_family(catalog: Catalog) -> None:
    for toolchain in catalog.toolchains.values():
        assert set(tools(toolchain)) <= set(toolchain.tools.__struct_fields__)
        assert all(getattr(toolchain.tools, role) for role in tools(toolchain)), toolchain.name

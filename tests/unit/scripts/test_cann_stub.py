"""cann_stub.py: the C that it writes, and with a real compiler a library that loads where nothing of CANN is."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder import paths

SCRIPT = paths.TEMPLATES / "scripts" / "cann_stub.py"
TOOLS = ("gcc", "readelf")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
needs_compiler = pytest.mark.skipif(bool(MISSING), reason=f"NOT TESTED, a compiler is missing: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """Return the names of the script, which is no module of the package."""
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def c_source(script: dict[str, Any]) -> Callable[[set[str]], str]:
    made: Callable[[set[str]], str] = script["c_source"]
    return made


# --- the text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["aclInit", "aclrtMalloc", "HcclAllReduce", "hcclCommInit", "aclnnAddGetWorkspaceSize"]
)
def test_what_returns_a_code_returns_an_error(c_source: Callable[[set[str]], str], name: str) -> None:
    # 0 would be success: a program would go on with memory that it never got
    assert f"long {name}(void) {{ return 507899; }}" in c_source({name}).splitlines()


@pytest.mark.parametrize(
    "name", ["aclGetRecentErrMsg", "aclrtGetSocName", "HcclGetErrorString", "_ZN2ge5GraphC1Ev", "rtFree", "SaveMessage"]
)
def test_what_may_return_a_pointer_returns_none(c_source: Callable[[set[str]], str], name: str) -> None:
    assert f"long {name}(void) {{ return 0; }}" in c_source({name}).splitlines()


@pytest.mark.parametrize("name", ["_ZTVN2ge5ShapeE", "_ZTIN2ge5ShapeE", "_ZTSN2ge5ShapeE", "_ZTTN2ge5ShapeE"])
def test_tables_of_classes_are_data(c_source: Callable[[set[str]], str], name: str) -> None:
    # a loader copies and relocates them: code there would be read as an object's table
    assert f"const char {name}[256] = {{0}};" in c_source({name}).splitlines()
    assert f"{name}(void)" not in c_source({name})


@pytest.mark.parametrize("name", ["", "a b", "a;", "a(){}", "1a", "a\n", "a.b", "aclInit@V1", "ä", '"', "a$b"])
def test_what_is_no_name_in_c_is_refused(c_source: Callable[[set[str]], str], name: str) -> None:
    with pytest.raises(SystemExit) as caught:
        c_source({"aclInit", name})
    assert str(caught.value) == f"cann_stub: cannot define the symbol {name!r}"


def test_the_text_depends_on_the_names_only(c_source: Callable[[set[str]], str]) -> None:
    names = {"rtFree", "aclInit", "_ZTVx", "HcclSend"}
    text = c_source(names)
    # in an order of their own: that of a set differs from process to process
    assert re.findall(r"^(?:long|const char) (\w+)", text, re.MULTILINE) == sorted(names)
    assert text.startswith("/* Generated")
    assert c_source(set()).count("\n") == 1, "no name, no definition"


# --- with a compiler -----------------------------------------------------------------------------


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, env=known, capture_output=True, text=True, check=False)


def compiled(folder: Path, name: str, source: str, *flags: str) -> Path:
    """Compile C to a shared library and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    file, target = folder / f"{name}.c", folder / name
    file.write_text(source, encoding="utf-8")
    done = run("gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(target), str(file), *flags)
    assert done.returncode == 0, done.stderr
    file.unlink()
    return target


TORCH_NPU = """
#include <stdio.h>
extern int aclInit(const char *); extern const char *aclGetRecentErrMsg(void); extern int HcclSend(int);
extern const char _ZTVshape[]; extern int from_torch(void); extern int other_cann(void);
__attribute__((weak)) extern int optional(void);
const char *table = _ZTVshape;
int start(void) { return aclInit(0); }
int more(void) { if (optional) optional(); puts(""); return HcclSend(1) + from_torch() + other_cann(); }
const char *why(void) { return aclGetRecentErrMsg(); }
"""


IMPORTER = """\
#!/bin/sh
# What importing torch_npu does: it opens the libraries that this file names, and says which one is not there.
for library in $(cat "$(dirname "$0")/opens" 2> /dev/null); do
    [ -e "$LD_LIBRARY_PATH/$library" ] && continue
    echo "RuntimeError: $library: cannot open shared object file: No such file or directory"
    exit 1
done
if [ -e "$(dirname "$0")/dies" ]; then rm "$(dirname "$0")/dies"; kill -FPE $$; fi
[ ! -e "$(dirname "$0")/stubborn" ] || kill -FPE $$
[ ! -e "$(dirname "$0")/broken" ] || { echo "ImportError: something else"; exit 1; }
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Return an environment whose torch_npu is linked to libraries of a CANN that is gone again."""
    site = tmp_path / "venv/lib/python3.11/site-packages"
    cann = tmp_path / "cann"
    real = 'int aclInit(const char *p) { return 0; } const char *aclGetRecentErrMsg(void) { return "real"; }\n'
    real += "int HcclSend(int a) { return 0; } const char _ZTVshape[64] = {1};"
    compiled(cann, "libascendcl.so", real)
    compiled(cann, "libhccl.so", "int other_cann(void) { return 0; }")
    torch = compiled(site / "torch/lib", "libtorch.so", "int from_torch(void) { return 0; }")
    links = (f"-L{cann}", "-lascendcl", "-lhccl", f"-L{torch.parent}", "-ltorch", "-Wl,--no-as-needed")
    compiled(site / "torch_npu/lib", "libtorch_npu.so", TORCH_NPU, *links)
    shutil.rmtree(cann)
    (tmp_path / "venv/bin").mkdir()
    python = tmp_path / "venv/bin/python"
    python.write_text(IMPORTER, encoding="utf-8")
    python.chmod(0o755)
    return tmp_path / "venv"


def stub(venv: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, str(SCRIPT), "--venv", str(venv), "--home", str(home), "--version", "8.1.RC1")


LOAD = """
import ctypes, os, sys
library = ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW)
library.why.restype = ctypes.c_void_p
print(library.start(), library.why())
"""


def load(venv: Path, home: Path | None) -> subprocess.CompletedProcess[str]:
    """Load torch_npu's library in a new process, every symbol at once, as set_env.sh of the stand-in sets it up."""
    (site,) = venv.glob("lib/python*/site-packages")
    library = str(site / "torch_npu/lib/libtorch_npu.so")
    before = f"source {home}/set_env.sh; " if home else ""
    command = f'{before}exec "$0" -c "$1" "$2"'
    return run("bash", "-uec", command, sys.executable, LOAD, library, LD_LIBRARY_PATH=str(site / "torch/lib"))


@needs_compiler
def test_what_is_linked_to_cann_loads_with_the_stub_and_not_without(venv: Path, tmp_path: Path) -> None:
    home = tmp_path / "home/ascend-toolkit"
    without = load(venv, None)
    assert without.returncode != 0
    assert "libascendcl.so" in without.stderr
    made = stub(venv, home)
    assert made.returncode == 0, made.stderr
    assert made.stdout == "5 symbols, libraries: libascendcl.so, libhccl.so\n"
    with_stub = load(venv, home)
    assert with_stub.returncode == 0, with_stub.stderr
    # every call says that it failed; a text is none
    assert with_stub.stdout == "507899 None\n"


@needs_compiler
def test_the_stub_has_the_wanted_names_and_no_other(venv: Path, tmp_path: Path, script: dict[str, Any]) -> None:
    home = tmp_path / "home"
    assert stub(venv, home).returncode == 0
    folder = home / "latest/lib64"
    assert sorted(path.name for path in folder.iterdir()) == ["libascendcl.so", "libhccl.so"]
    wanted = {"aclInit", "aclGetRecentErrMsg", "HcclSend", "_ZTVshape", "other_cann"}
    # not `optional`, which is weak, not puts, which the system has, not from_torch
    assert set(script["symbols"](str(folder / "libascendcl.so"))[1]) == wanted
    assert set(script["symbols"](str(folder / "libhccl.so"))[1]) == set()
    for package in ("compiler", "opp", "runtime"):
        assert (home / "latest" / package).is_dir()


@needs_compiler
def test_what_the_import_opens_by_itself_is_there_too(venv: Path, tmp_path: Path) -> None:
    (venv / "bin/opens").write_text("libopapi.so\nlibother.so\n", encoding="utf-8")
    home = tmp_path / "home"
    made = stub(venv, home)
    assert made.returncode == 0, made.stderr
    names = sorted(path.name for path in (home / "latest/lib64").iterdir())
    assert names == ["libascendcl.so", "libhccl.so", "libopapi.so", "libother.so"]


@needs_compiler
def test_an_import_that_dies_is_told_that_there_are_no_devices(
    venv: Path, tmp_path: Path, script: dict[str, Any]
) -> None:
    assert "unsigned int *count" not in script["c_source"]({"aclrtGetDeviceCount"})
    assert "*count = 0; return 0;" in script["c_source"]({"aclrtGetDeviceCount"}, script["NO_DEVICES"])
    (venv / "bin/dies").touch()
    assert stub(venv, tmp_path / "home").returncode == 0
    (venv / "bin/stubborn").touch()
    made = stub(venv, tmp_path / "other")
    assert made.returncode == 1
    assert "still ends by a signal" in made.stderr


@needs_compiler
def test_an_import_that_fails_otherwise_stops_the_build(venv: Path, tmp_path: Path) -> None:
    (venv / "bin/broken").touch()
    made = stub(venv, tmp_path / "home")
    assert made.returncode == 1
    assert "torch_npu cannot be imported:\nImportError: something else" in made.stderr


@needs_compiler
def test_the_same_wheel_gives_the_same_bytes(venv: Path, tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        assert stub(venv, home).returncode == 0
    one, two = [(home / "latest/lib64/libascendcl.so").read_bytes() for home in homes]
    assert one == two


@needs_compiler
def test_set_env_says_what_it_is_and_keeps_other_paths(venv: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert stub(venv, home).returncode == 0
    text = (home / "set_env.sh").read_text(encoding="utf-8")
    assert text.startswith("# A stand-in for CANN 8.1.RC1: link-only")
    for before, after in (("", ""), ("/x", ":/x")):
        environment = {"LD_LIBRARY_PATH": before} if before else {}
        done = run("bash", "-uec", f"source {home}/set_env.sh; echo $LD_LIBRARY_PATH $ASCEND_OPP_PATH", **environment)
        assert done.stdout == f"{home}/latest/lib64{after} {home}/latest/opp\n"


@needs_compiler
def test_a_wheel_that_wants_something_else_is_refused(tmp_path: Path) -> None:
    site = tmp_path / "venv/lib/python3.11/site-packages"
    site.mkdir(parents=True)
    done = stub(tmp_path / "venv", tmp_path / "home")
    assert (done.returncode, done.stderr) == (1, f"cann_stub: torch_npu is not installed in {tmp_path / 'venv'}\n")
    compiled(tmp_path / "cann", "libother.so", "int other(void) { return 0; }")
    source = "extern int other(void); int start(void) { return other(); }"
    compiled(site / "torch_npu/lib", "libtorch_npu.so", source, f"-L{tmp_path / 'cann'}", "-lother")
    shutil.rmtree(tmp_path / "cann")
    done = stub(tmp_path / "venv", tmp_path / "home")
    assert done.returncode == 1
    assert done.stderr == "cann_stub: torch_npu is not linked to libascendcl.so but to libother.so\n"
    assert not (tmp_path / "home").exists()

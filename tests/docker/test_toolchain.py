"""The stage `toolchain` with Debian's own clang: it is taken, and what is wrong of it stops the build and is named."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from support.cli import drivebuild

from builder import paths
from builder.engine.host import Engine
from builder.engine.process import SystemRunner

pytestmark = pytest.mark.docker
NAME = "clang-debian-12"
SHIPPED = (paths.RECIPES / "toolchains" / f"{NAME}.yaml").read_text(encoding="utf-8")


def image(tmp_path: Path, tag: str, recipe: str = "") -> tuple[int, str]:
    """Build the stage, with another recipe of the toolchain where one is given."""
    words = []
    if recipe:
        folder = tmp_path / "recipes" / "toolchains"
        folder.mkdir(parents=True)
        (folder / f"{NAME}.yaml").write_text(recipe, encoding="utf-8")
        words = ["--recipes", str(folder.parent)]
    words += ["image", "streampetr", "--platform", "debian-12-cpu", "--lto", "--toolchain", NAME]
    done = drivebuild(*words, "--until", "toolchain", "--tag", tag)
    return done.exit_code, done.output


def test_its_tools_are_where_every_stage_looks(engine: Engine, tmp_path: Path, tag: str) -> None:
    code, output = image(tmp_path, tag)
    assert code == 0, output
    asked = "cat /opt/toolchain/toolchain.json; readlink /opt/toolchain/bin/*; /opt/toolchain/bin/clang++ --version"
    shown = SystemRunner().run(("docker", "run", "--rm", "--network", "none", tag, "sh", "-c", asked))
    assert shown.code == 0, shown.complaint
    assert '"version": "Debian clang version 19.' in shown.text
    assert shown.text.count("/usr/lib/llvm-19/bin/") >= 7


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('version: "19"', 'version: "17"', "the compiler is not of version 17: it says 'Debian clang version 19."),
        ("family: clang", "family: clang\nmarker: BiSheng", "the compiler does not call itself BiSheng"),
        (
            "profdata: bin/llvm-profdata",
            "profdata: bin/llvm-profdata-17",
            "missing, or no program: /usr/lib/llvm-19/bin/llvm-profdata-17",
        ),
        # The profiling runtime is a package of its own.
        ("libclang-rt-19-dev, ", "", "a profile does not work"),
        ("gnu_compatibility: false", "gnu_compatibility: true", "-fGNU-compatibility does not work"),
    ],
)
def test_what_is_wrong_stops_the_build(
    old: str, new: str, complaint: str, engine: Engine, tmp_path: Path, tag: str
) -> None:
    text = SHIPPED if "gnu_compatibility" in SHIPPED else SHIPPED + "gnu_compatibility: false\n"
    assert text.count(old) == 1
    code, output = image(tmp_path, tag, text.replace(old, new))
    assert code == 6, output
    assert f"toolchain {NAME}: {complaint}" in output


# --- from an archive, under a licence ------------------------------------------------------------

BISHENG = (paths.RECIPES / "toolchains" / "bisheng-4.1.0.yaml").read_text(encoding="utf-8")
FOLDER = "BiShengCompiler-4.1.0-aarch64-linux"
TOOLS = ("clang", "clang++", "llvm-ar", "llvm-ranlib", "llvm-nm", "ld.lld", "llvm-profdata")


@pytest.fixture
def packed(tmp_path: Path) -> list[str]:
    """Return the words that build with BiSheng's recipe on this machine: it exists for neither Debian nor x86_64."""
    folder = tmp_path / "recipes" / "toolchains"
    folder.mkdir(parents=True)
    text = BISHENG.replace("architectures: [aarch64]", "architectures: [aarch64, x86_64]")
    text = text.replace("systems: [", "systems: [debian-12, ")
    (folder / "bisheng-4.1.0.yaml").write_text(text, encoding="utf-8")
    words = ["--recipes", str(folder.parent), "image", "streampetr", "--platform", "debian-12-cpu", "--lto"]
    return [*words, "--toolchain", "bisheng-4.1.0", "--until", "toolchain"]


def archive(tmp_path: Path, says: str) -> Path:
    """Make what upstream publishes, with tools that only say a version."""
    programs = tmp_path / FOLDER / "bin"
    programs.mkdir(parents=True)
    for name in TOOLS:
        (programs / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (programs / name).chmod(0o755)
    (tmp_path / FOLDER / "lib").mkdir()
    (tmp_path / FOLDER / "lib" / "libomp.so").write_text("")
    (tmp_path / "given" / "archive").mkdir(parents=True)
    with tarfile.open(tmp_path / "given" / "archive" / f"{FOLDER}.tar.gz", "w:gz") as packed:
        packed.add(tmp_path / FOLDER, FOLDER)
    return tmp_path / "given"


def test_its_download_wants_a_yes(engine: Engine, packed: list[str]) -> None:
    done = drivebuild(*packed, "--accept-cann-eula")
    assert done.exit_code == 2
    assert "stage src-bisheng-4.1.0 is under a licence agreement that only you can accept" in done.output
    assert "then add --accept-bisheng-eula" in done.output


def test_an_archive_is_unpacked_and_looked_into(engine: Engine, packed: list[str], tmp_path: Path, tag: str) -> None:
    given = archive(tmp_path, "clang version 4.1.0")
    done = drivebuild(*packed, "--source", f"bisheng-4.1.0={given}", "--tag", tag)
    assert done.exit_code == 6, done.output
    assert (
        "toolchain bisheng-4.1.0: the compiler does not call itself BiSheng: it says 'clang version 4.1.0'"
        in done.output
    )


def test_the_dockerfile_asks_as_well(engine: Engine, packed: list[str], tmp_path: Path) -> None:
    words = [word for word in packed if word not in ("--until", "toolchain")]
    words[words.index("image")] = "render"
    (tmp_path / "Dockerfile").write_text(drivebuild(*words).stdout, encoding="utf-8")
    (tmp_path / "context").mkdir()
    command = ("docker", "buildx", "build", "--progress=plain", "--target", "toolchain")
    result = SystemRunner().run((*command, "--file", str(tmp_path / "Dockerfile"), str(tmp_path / "context")))
    assert result.code != 0
    assert "accept it: --accept-bisheng-eula (ACCEPT_BISHENG_EULA=yes)" in result.complaint

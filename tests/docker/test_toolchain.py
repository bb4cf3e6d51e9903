"""The stage `toolchain` with Debian's own clang: it is taken, and what is wrong of it stops the build and is named."""

from __future__ import annotations

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

"""`way: run`: CANN from installers. The installers are fakes (support/fake_cann.py), everything else is real."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import drivebuild
from support.fake_cann import write_installer

from builder import paths
from builder.engine.host import Engine
from builder.engine.process import SystemRunner

PLATFORM = "cann-8.1.rc1-run"


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """Return recipes that put the platform on Debian: openEuler's image is in a registry."""
    shipped = (paths.RECIPES / "platforms" / f"{PLATFORM}.yaml").read_text(encoding="utf-8")
    debian = (paths.RECIPES / "platforms" / "debian-12-cpu.yaml").read_text(encoding="utf-8")
    base = debian[debian.index("base:\n") : debian.index("python:\n")]
    text = shipped[: shipped.index("base:\n")] + base + shipped[shipped.index("cann:\n") :]
    text = text.replace("system: openeuler-22.03", "system: debian-12")
    # Its compilers are openEuler's.
    text = (
        text[: text.index("variants:")]
        + "variants: [stock, lto]\n"
        + text[text.index("# The same Python, framework") :]
    )
    start = text.index("  packages: [")
    text = text[:start] + "  packages: [findutils]" + text[text.index("]", start) + 1 :]
    (tmp_path / "recipes" / "platforms").mkdir(parents=True)
    (tmp_path / "recipes" / "platforms" / f"{PLATFORM}.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "recipes"


def image(recipes: Path, tmp_path: Path, tag: str, *words: str) -> tuple[int, str]:
    command = [
        "--recipes",
        str(recipes),
        "image",
        "streampetr",
        "--platform",
        PLATFORM,
        "--until",
        "base",
        "--tag",
        tag,
    ]
    for part, file in (("toolkit", "toolkit"), ("kernels", "kernels-910b")):
        folder = tmp_path / part
        if not folder.is_dir():
            write_installer(folder, f"Ascend-cann-{file}_8.1.RC1_linux-x86_64.run", part)
        command += ["--source", f"cann-{part}-8.1.rc1-x86-64={folder}"]
        empty = tmp_path / "none" / "archive"
        empty.mkdir(parents=True, exist_ok=True)
        # The other architecture's installers are in the same Dockerfile and are not run.
        command += ["--source", f"cann-{part}-8.1.rc1-aarch64={empty.parent}"]
    done = drivebuild(*command, *words)
    return done.exit_code, done.output


def test_nothing_is_done_before_the_licence_is_accepted(recipes: Path, tmp_path: Path, tag: str) -> None:
    code, output = image(recipes, tmp_path, tag)
    assert code == 2
    assert "--accept-cann-eula" in output
    assert "https://www.hiascend.com/zh/legal/softlicense" in output
    assert SystemRunner().run(("docker", "image", "inspect", tag)).code != 0


@pytest.mark.docker
def test_the_installers_are_run_in_order(engine: Engine, recipes: Path, tmp_path: Path, tag: str) -> None:
    code, output = image(recipes, tmp_path, tag, "--accept-cann-eula")
    assert code == 0, output
    shown = SystemRunner().run(("docker", "run", "--rm", tag, "cat", "/usr/local/Ascend/ascend-toolkit/installed"))
    assert shown.text.split() == ["toolkit", "kernels"]
    history = SystemRunner().run(("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", tag)).text
    assert "installer.run --quiet" in history


@pytest.mark.docker
def test_a_download_needs_the_licence_even_without_drivebuild(engine: Engine, recipes: Path, tmp_path: Path) -> None:
    """The Dockerfile itself refuses: a plain `docker build` of the rendered file must not accept a licence either."""
    rendered = drivebuild("--recipes", str(recipes), "render", "streampetr", "--platform", PLATFORM).stdout
    (tmp_path / "Dockerfile").write_text(rendered, encoding="utf-8")
    (tmp_path / "context").mkdir()
    command = ("docker", "buildx", "build", "--progress=plain", "--target", "src-cann-toolkit-8.1.rc1-x86-64")
    result = SystemRunner().run((*command, "--file", str(tmp_path / "Dockerfile"), str(tmp_path / "context")))
    assert result.code != 0
    assert "accept it: --accept-cann-eula" in result.complaint

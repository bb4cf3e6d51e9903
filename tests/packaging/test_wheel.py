"""The built wheel, installed into an empty environment and used in an empty folder, renders what is committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in argv], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command of a drivebuild installed from its wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "uv", "build", "--wheel", "--out-dir", folder, ROOT)
    run(sys.executable, "-m", "uv", "venv", "--python", sys.executable, folder / "venv")
    (wheel,) = folder.glob("drivebuild-*.whl")
    run(sys.executable, "-m", "uv", "pip", "install", "--python", folder / "venv", wheel)
    return folder / "venv" / "bin" / "drivebuild"


def test_lists_five_models(installed: Path, tmp_path: Path) -> None:
    output = run(installed, "list", cwd=tmp_path)
    for model in ("flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer"):
        assert model in output


def test_renders_in_an_empty_folder_what_is_committed(installed: Path, tmp_path: Path) -> None:
    run(installed, "render", cwd=tmp_path)
    for folder in ("dockerfiles", "compose", "schemas"):
        committed = {path.relative_to(ROOT): path.read_text() for path in (ROOT / folder).rglob("*") if path.is_file()}
        rendered = {
            path.relative_to(tmp_path): path.read_text() for path in (tmp_path / folder).rglob("*") if path.is_file()
        }
        assert rendered == committed
    assert "current" in run(installed, "render", "--check", cwd=tmp_path)


def test_has_the_in_image_checks(installed: Path) -> None:
    python = installed.with_name("python")
    code = "from builder import paths; print(sorted(p.name for p in paths.IN_IMAGE.glob('*.py')))"
    assert "mmcv_ops.py" in run(python, "-c", code)


def test_a_sixth_model_needs_one_file_and_no_change_to_the_package(installed: Path, tmp_path: Path) -> None:
    """Options before the command name a folder of recipes; the model in it is listed beside the shipped ones."""
    recipe = (ROOT / "builder/recipes/models/pivotnet.yaml").read_text()
    models = tmp_path / "mine" / "models"
    models.mkdir(parents=True)
    (models / "sixth.yaml").write_text(recipe.replace("name: pivotnet", "name: sixth", 1))
    assert "sixth" in run(installed, "--recipes", tmp_path / "mine", "list", cwd=tmp_path)

"""The models' own conversions, unchanged, on a synthetic nuScenes: in images with the real upstreams' trees.

The images are those for CPUs or of a stand-in for CANN, whichever are there; building them needs the upstreams' git
hosts or mirrors (see tests/support/upstreams.py), so they are not built here. Without one a model is skipped, loudly;
with DRIVEBUILD_TEST_UPSTREAMS=required that is a failure. A conversion computes nothing on an NPU.

Two things of Python 3.11 and of the stand-in are made up for, outside the conversion: a style of plots that matplotlib
3.8 no longer has and the devkit of the READMEs asks for, and mx_driving, which is imported and not called.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.files import TESTS

from builder import paths
from builder.dataset.needs import needs_of
from builder.dataset.prepared import stray
from builder.dataset.synth import synthesize
from builder.plan.jobs import data_root
from builder.recipe.types import Catalog, Job, Model

pytestmark = pytest.mark.docker
MODELS = ("flashocc", "panoocc", "pivotnet", "streampetr")
SITE = """\
import sys
sys.path.append("/in_image")
import _stand_ins
_stand_ins.install()
"""


def image_of(catalog: Catalog, model: Model) -> str:
    """Return an image that has the model's tree and needs no NPU; else skip, or fail where that is asked for."""
    twins = [name for name, platform in catalog.platforms.items() if platform.twin == model.platform]
    tags = [f"drivebuild/{model.name}:{platform}-stock" for platform in ("debian-12-cpu", *twins)]
    for tag in tags:
        asked = ("docker", "image", "inspect", "--format", "{{.Id}}", tag)
        if shutil.which("docker") and subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return tag
    reason = (
        f"NO IMAGE of {model.name}: none of {', '.join(tags)}; `drivebuild image {model.name}` with mirrors makes one"
    )
    if os.environ.get("DRIVEBUILD_TEST_UPSTREAMS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a nuScenes with scenes of every split."""
    root = tmp_path_factory.mktemp("data") / "nuscenes"
    synthesize(root, scenes=3, samples=3)
    return root


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Return a folder with what stands in for packages."""
    (tmp_path / "made-up/site").mkdir(parents=True)
    (tmp_path / "made-up/site/sitecustomize.py").write_text(SITE)
    styles = tmp_path / "made-up/matplotlib/stylelib"
    styles.mkdir(parents=True)
    (styles / "seaborn-whitegrid.mplstyle").touch()
    return tmp_path / "made-up"


def container(image: str, *words: str, mounts: dict[Path, str], directory: str = "/") -> tuple[str, ...]:
    """Return a command in a container of the caller's own user, which has no network."""
    user = f"{os.getuid()}:{os.getgid()}"
    binds = [word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}")]
    start = (
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--user",
        user,
        "--group-add",
        "1000",
        "--workdir",
        directory,
    )
    return (*start, "--env", "HOME=/tmp", "--env", "MPLCONFIGDIR=/made-up/matplotlib", *binds, image, *words)


def convert(image: str, model: Model, job: Job, dataset: Path, out: Path, made_up: Path) -> None:
    """Run a model's job as its recipe has it, over a folder of links to a data set that it cannot write."""
    out.mkdir(exist_ok=True)
    for entry in model.data.entries:
        if not entry.generated:
            (out / entry.path).symlink_to(f"/data/nuscenes/{entry.path}")
    workspace = f"/workspace/{model.name}"
    mounts = {
        dataset: "/data/nuscenes:ro",
        out: f"{workspace}/{data_root(model)}",
        made_up: "/made-up",
        TESTS / "in_image": "/in_image:ro",
    }
    words = ("env", "PYTHONPATH=/made-up/site", *job.command, job.name)
    # bash -c takes the word after its script as its own name.
    command = words if "-c" in job.command else words[:-1]
    argv = container(image, *command, mounts=mounts, directory=f"{workspace}/{job.directory}")
    done = subprocess.run(argv, capture_output=True, check=False, timeout=500)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-4000:]


def digest(root: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in root.rglob("*"))


@pytest.mark.parametrize("name", MODELS)
def test_conversion(catalog: Catalog, dataset: Path, tmp_path: Path, made_up: Path, name: str) -> None:
    model = catalog.models[name]
    image = image_of(catalog, model)
    (job,) = [each for each in model.jobs if each.name == "prepare-data"]
    out, before = tmp_path / "out", digest(dataset)
    convert(image, model, job, dataset, out, made_up)
    assert digest(dataset) == before
    entries = [entry for entry in model.data.entries if entry.generated]
    for entry in entries:
        place = out / entry.path
        assert any(place.iterdir()) if entry.kind == "folder" else place.stat().st_size, entry.path
        if entry.holds == "samples":
            assert not list(stray(dataset, needs_of(model).versions, out, entry))
    pairs = [f"{entry.holds}={entry.path}" for entry in entries if entry.holds in ("train", "val", "test")]
    script = (paths.TEMPLATES / "scripts/infos.py").read_text()
    mounts = {dataset: "/data/nuscenes:ro", out: "/out:ro", made_up: "/made-up"}
    argv = container(image, "python", "-c", script, "/data/nuscenes", "/out", *pairs, mounts=mounts)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    rows = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("infos: ")]
    assert [row["wrong"] for row in rows] == [""] * len(pairs)
    # Two of three scenes are of the training split, each has three key frames.
    assert {row["split"]: row["infos"] for row in rows} == {
        split: count for split, count in (("train", 6), ("val", 3), ("test", 9)) if any(split in pair for pair in pairs)
    }

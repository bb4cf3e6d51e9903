"""`drivebuild data prepare` on a real engine, with a conversion that stands in for the models': it is stopped, goes on,
leaves something out. That of a real model is in test_converters.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.jobs import CPU, Site, recipe, write_context, write_recipes
from support.locks import with_locks

from builder.dataset.prepared import STAMP
from builder.dataset.synth import synthesize
from builder.dataset.synthworld import SCENES
from builder.engine.host import Engine
from builder.plan.jobs import links
from builder.source.catalog import read_catalog

pytestmark = pytest.mark.docker
NAME = "toydata"
ENTRIES = [
    {"path": "samples"},
    {"path": "maps"},
    {"path": "v1.0-trainval"},
    {"path": "lidarseg", "required": False},
    {"path": "panoptic", "required": False},
    {"path": "train.pkl", "kind": "file", "generated": True, "holds": "train"},
    {"path": "val.pkl", "kind": "file", "generated": True, "holds": "val"},
    {"path": "customer/npz", "generated": True, "holds": "samples"},
]
CONVERT = """
import json, os, pickle, sys, zipfile
from nuscenes.utils import splits
root = "data/nuscenes"
table = lambda name: json.load(open(f"{root}/v1.0-trainval/{name}.json"))
scenes = {row["token"]: row["name"] for row in table("scene")}
samples = table("sample")
asked = lambda what: os.path.exists(f"/data/prepared/{what}")
os.makedirs(f"{root}/customer/npz", exist_ok=True)
for number, row in enumerate(samples):
    print(f"[>>>] {number + 1}/{len(samples)}, 9.9 task/s", end="\\r", flush=True)
    path = f"{root}/customer/npz/{row['token']}.npz"
    if os.path.exists(path):
        continue
    if asked("stop") and number == 3:
        sys.exit("stopped by the test")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", "x")
for name in ("train", "val"):
    infos = [row for row in samples if (scenes[row["scene_token"]] in splits.train) == (name == "train")]
    with open(f"{root}/{name}.pkl", "wb") as file:
        pickle.dump({"infos": infos[1:] if asked("short") else infos}, file)
"""


@pytest.fixture(scope="module")
def recipes(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of recipes; the image is there while the module runs."""
    folder = tmp_path_factory.mktemp(NAME)
    made = write_recipes(folder / "recipes")
    (made / "models/toyrun.yaml").unlink()
    model = json.loads(recipe().replace("toyrun", NAME))
    convert = {**model["jobs"][-1], "command": ["python3", "convert.py"], "outputs": ["Toy/data/nuscenes"]}
    model |= {"jobs": [convert], "weights": [], "data": {**model["data"], "entries": ENTRIES, "sensors": ["camera"]}}
    (made / f"models/{NAME}.yaml").write_text(json.dumps(model))
    for lock in made.glob("locks/*/*.txt"):
        lock.rename(lock.with_name(lock.name.replace("toyrun", NAME)))
    catalog = with_locks(read_catalog((made,)))
    context = write_context(catalog, folder / "context", CPU, NAME)
    (context / "convert.py").write_text(CONVERT)
    (context / "splits.py").write_text(f"train = {SCENES['v1.0-trainval'][0]!r}\n")
    linked = " ".join(f"{link.path} {link.target}" for link in links(catalog.models[NAME]))
    with (context / "Dockerfile").open("a") as file:
        file.write(f"""\
COPY convert.py /workspace/{NAME}/Toy/
COPY splits.py /usr/lib/python3/dist-packages/nuscenes/utils/
RUN ln -s /usr/bin/python3 /usr/local/bin/python; cd /workspace/{NAME}; set -- {linked}; \\
    while [ $# -gt 0 ]; do mkdir -p "$(dirname "$1")"; ln -sfT "$2" "$1"; shift 2; done
""")
    tag = f"drivebuild/{NAME}:{CPU}-stock"
    subprocess.run(("docker", "build", "--quiet", "--tag", tag, str(context)), check=True, capture_output=True)
    yield made
    subprocess.run(("docker", "image", "rm", "--force", tag), check=True, capture_output=True)


@pytest.fixture
def site(recipes: Path, tmp_path: Path) -> Site:
    """Return a site with a data set of nine key frames, and nothing prepared."""
    folder = tmp_path / "site"
    folder.mkdir()
    synthesize(tmp_path / "nuscenes", versions=("v1.0-trainval",), scenes=3, samples=3)
    (folder / ".env").write_text(f"NUSCENES_ROOT={tmp_path}/nuscenes\nPREPARED_ROOT={tmp_path}/prepared\n")
    return Site(folder, recipes)


def prepare(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    return site.drivebuild("data", "prepare", NAME, "--platform", CPU, "--no-build", *words)


def test_it_goes_on_where_it_stopped_and_is_kept_when_it_is_finished(site: Site, tmp_path: Path) -> None:
    made = tmp_path / "prepared" / NAME
    made.mkdir(parents=True)
    (made / "stop").touch()
    done = prepare(site)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "failed after" in done.stderr
    assert json.loads((made / STAMP).read_text())["files"] == {}
    first = {path.name: path.stat().st_mtime_ns for path in (made / "customer/npz").iterdir()}
    assert len(first) == 3
    (made / "stop").unlink()
    done = prepare(site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{NAME} prepare-data: 9 of 9" in done.stdout
    assert "train.pkl: 6 key frames" in done.stdout
    assert "val.pkl: 3 key frames" in done.stdout
    second = {path.name: path.stat().st_mtime_ns for path in (made / "customer/npz").iterdir()}
    assert len(second) == 9
    assert first.items() <= second.items()
    assert len(site.all_runs()) == 2
    assert "finished before" in prepare(site).stdout
    assert len(site.all_runs()) == 2
    again = prepare(site, "--again")
    assert again.returncode == 0, again.stderr
    assert (
        not first.items() & {path.name: path.stat().st_mtime_ns for path in (made / "customer/npz").iterdir()}.items()
    )


def test_what_is_left_out_is_found(site: Site, tmp_path: Path) -> None:
    made = tmp_path / "prepared" / NAME
    made.mkdir(parents=True)
    (made / "short").touch()
    done = prepare(site)
    assert done.returncode == 7
    assert "train.pkl: 1 of 6 key frames are missing, 0 are of no table" in done.stderr
    assert "val.pkl: 1 of 3 key frames are missing" in done.stderr
    (made / "short").unlink()
    assert prepare(site).returncode == 0


def test_other_tables_make_it_anew(site: Site, tmp_path: Path) -> None:
    assert prepare(site).returncode == 0
    (tmp_path / "nuscenes").rename(tmp_path / "before")
    synthesize(tmp_path / "nuscenes", versions=("v1.0-trainval",), scenes=2, samples=3, seed=5)
    done = prepare(site)
    assert "was made from other tables" in done.stdout
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "prepared" / NAME / "customer/npz").iterdir())) == 6


def test_a_data_set_that_lacks_something_starts_nothing(site: Site, tmp_path: Path) -> None:
    min((tmp_path / "nuscenes/samples/CAM_BACK").iterdir()).unlink()
    done = prepare(site)
    assert done.returncode == 7
    assert "samples/CAM_BACK: missing" in done.stdout
    assert not site.all_runs()
    assert prepare(site, "--no-check").returncode == 0


def test_what_is_not_set_is_named(site: Site) -> None:
    (site.folder / ".env").write_text("NUSCENES_ROOT=/nowhere\n")
    done = prepare(site)
    assert done.returncode == 2
    assert "PREPARED_ROOT: not set" in done.stderr
    assert site.drivebuild("data", "prepare", "tpvformer").returncode == 2

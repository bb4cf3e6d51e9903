"""Two nodes that meet: the pods of a rendered manifest, each in a network namespace of its own, with the real launcher.

torchrun and torch's gloo come from the real image's environment; what the image would have beside it (`drivebuild-job`,
the table of jobs) is laid on top, as its last stage does. No name, variable or command is this test's own: all of them
come out of `drivebuild k8s` (tests/support/kubelet.py). DRIVEBUILD_TEST_TORCH may name another image with torch in it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cli import drivebuild
from support.jobs import recipe, write_context, write_recipes
from support.kubelet import Cluster, docker
from support.locks import with_locks

from builder.engine.host import Engine
from builder.recipe.types import Catalog
from builder.source.catalog import read_catalog

pytestmark = pytest.mark.docker

PLATFORM = "debian-12-cpu"
ENVIRONMENTS = ("drivebuild/streampetr:debian-12-cpu-stock", "drivebuild/streampetr:debian-12-cpu-stock-env")
IMAGE, TOY = (f"drivebuild-test/k8s:{name}-{os.getpid()}" for name in ("streampetr", "toyrun"))
BASE = "FROM localhost/drivebuild/base:debian-12"
LONG = 900.0
"""Seconds after which something hangs: torch alone takes some to be imported on two processors, four times."""
Start = Callable[..., Cluster]


@pytest.fixture(scope="module")
def environment(engine: Engine) -> str:
    """Return an image with torch in it."""
    named = [name for name in (os.environ.get("DRIVEBUILD_TEST_TORCH"), *ENVIRONMENTS) if name]
    found = [name for name in named if engine.image(name) is not None]
    if not found:
        pytest.skip(f"NO IMAGE: {' or '.join(ENVIRONMENTS)}; make it with `drivebuild image streampetr -p {PLATFORM}`")
    return found[0]


def build(context: Path, environment: str, tag: str) -> None:
    """Build what a test's context says, upon the environment in place of the bare base."""
    path = context / "Dockerfile"
    text = path.read_text()
    assert text.startswith(BASE)
    path.write_text(text.replace(BASE, f"FROM {environment}\nUSER root"))
    docker("build", "--quiet", "--tag", tag, str(context))


@pytest.fixture(scope="module")
def image(environment: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return an image of StreamPETR's environment with the scripts of today."""
    context = write_context(catalog, tmp_path_factory.mktemp("k8s") / "context", PLATFORM, "streampetr")
    build(context, environment, IMAGE)
    yield IMAGE
    docker("image", "rm", "--force", IMAGE)


@pytest.fixture
def start(image: str, tmp_path: Path) -> Iterator[Start]:
    """Return a function that renders a rendezvous and starts both of its pods."""
    cluster = Cluster(tmp_path / "configmap", image)

    def begin(*arguments: str, nodes: int = 2) -> Cluster:
        words = ("k8s", "streampetr", "rendezvous", "--nodes", str(nodes), "--platform", PLATFORM, "--", *arguments)
        rendered = drivebuild(*words)
        assert rendered.exit_code == 0, rendered.output
        cluster.apply(rendered.stdout)
        # The other way round than one would: node 0 is not there yet when node 1 looks for it.
        for index in reversed(range(nodes)):
            cluster.start(index)
        return cluster

    yield begin
    cluster.remove()


def running(cluster: Cluster, name: str, sign: str) -> None:
    """Wait until a pod has printed something."""
    follow = subprocess.Popen(("docker", "logs", "--follow", name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert follow.stdout is not None
    with follow:
        for line in follow.stdout:
            if sign in line.decode(errors="replace"):
                follow.kill()
                return
    raise AssertionError(f"{name} ended without {sign!r}:\n{cluster.log(name)}")


def test_two_nodes_of_two_processes_meet_and_add_up(start: Start) -> None:
    cluster = start()
    one, zero = cluster.pods
    assert cluster.wait(zero, LONG) == 0, cluster.log(zero)
    assert cluster.wait(one, LONG) == 0, cluster.log(one)
    said = cluster.log(zero)
    names = "streampetr-rendezvous-0, streampetr-rendezvous-1"
    assert f"rendezvous ok: 4 processes on 2 nodes ({names})" in said
    assert re.search(r"16 MiB summed in [0-9.]+ s", said)
    # Every process was there once, two on each node.
    found = re.findall(r"process (\d) of 4 on streampetr-rendezvous-(\d)", said + cluster.log(one))
    assert sorted(found) == [("0", "0"), ("1", "0"), ("2", "1"), ("3", "1")]
    # Node 0's end is proven by what it printed, the other's by its command's end alone.
    assert "drivebuild-job: succeeded: the log shows the result" in said
    assert "drivebuild-job: succeeded: it ended with 0" in cluster.log(one)


def test_when_a_node_dies_the_other_ends_with_an_error(start: Start) -> None:
    cluster = start("--seconds", "600")
    one, zero = cluster.pods
    running(cluster, zero, "rendezvous ok")
    docker("kill", one)
    assert cluster.wait(zero, LONG) == 7, cluster.log(zero)
    assert "drivebuild-job: failed" in cluster.log(zero)


def test_when_the_first_node_dies_the_other_ends_with_an_error(start: Start) -> None:
    cluster = start("--seconds", "600")
    one, zero = cluster.pods
    running(cluster, zero, "rendezvous ok")
    docker("kill", zero)
    assert cluster.wait(one, LONG) == 7, cluster.log(one)
    assert "drivebuild-job: failed" in cluster.log(one)


def test_when_the_network_between_them_goes_silent_both_end_with_an_error(start: Start) -> None:
    # No packet says that the other is gone: only the wait's end does.
    cluster = start("--seconds", "600", "--timeout", "15")
    one, zero = cluster.pods
    running(cluster, zero, "rendezvous ok")
    docker("network", "disconnect", "--force", cluster.network, one)
    assert cluster.wait(zero, LONG) == 7, cluster.log(zero)
    assert cluster.wait(one, LONG) == 7, cluster.log(one)


# --- a program that starts its processes itself ---------------------------------------------------

SPAWNS = (
    "import os, torch, torch.distributed as d, torch.multiprocessing as m; e = os.environ;"
    "m.start_processes(lambda local: ("
    "d.init_process_group('gloo', init_method='tcp://%s:%s' % (e['MASTER_ADDR'], e['MASTER_PORT']),"
    " world_size=int(e['WORLD_SIZE']) * 2, rank=int(e['RANK']) * 2 + local),"
    " (t := torch.ones(1)), d.all_reduce(t),"
    " d.get_rank() == 0 and print('sum', int(t.item()), flush=True),"
    " d.get_rank() == 0 and open('out/made', 'w').write('x')), nprocs=2, start_method='fork')"
)
"""As TPVFormer's train.py: it counts nodes, and forks a process for each of its own."""


@pytest.fixture
def spawning(environment: str, tmp_path: Path) -> Iterator[tuple[Cluster, Path]]:
    """Return a cluster with claims, and recipes with such a model; its image has the recipe's own table of jobs."""
    recipes = write_recipes(tmp_path / "recipes")
    model = json.loads(recipe())
    launch = {"by": "environment", "command": ["python", "-c", SPAWNS], "processes": 2, "success": "sum 4"}
    model["jobs"].append({**model["jobs"][0], "name": "train-nodes", "title": "Stand-in: nodes", "launch": launch})
    (recipes / "models/toyrun.yaml").write_text(json.dumps(model))
    catalog = with_locks(read_catalog((recipes,)))
    build(write_context(catalog, tmp_path / "context", PLATFORM), environment, TOY)
    folders = (
        "nuscenes/samples",
        "nuscenes/maps",
        "drivebuild/runs",
        "drivebuild/prepared/toyrun",
        "drivebuild/weights",
    )
    for name in folders:
        (tmp_path / "claims" / name).mkdir(parents=True)
        (tmp_path / "claims" / name).chmod(0o777)
    (tmp_path / "claims/drivebuild/weights/w.pth").write_text("")
    cluster = Cluster(tmp_path / "configmap", TOY, tmp_path / "claims")
    yield cluster, recipes
    cluster.remove()
    docker("image", "rm", "--force", TOY)


def test_a_program_that_counts_nodes_meets_and_keeps_its_runs_on_the_claim(spawning: tuple[Cluster, Path]) -> None:
    cluster, recipes = spawning
    words = ("k8s", "toyrun", "train-nodes", "--nodes", "2", "--platform", PLATFORM)
    rendered = drivebuild("--recipes", str(recipes), *words)
    assert rendered.exit_code == 0, rendered.output
    cluster.apply(rendered.stdout)
    one, zero = cluster.start(1), cluster.start(0)
    assert cluster.wait(zero, LONG) == 0, cluster.log(zero)
    assert cluster.wait(one, LONG) == 0, cluster.log(one)
    runs = cluster.claims / "drivebuild/runs/toyrun"
    first, other = *runs.glob("train-nodes/*-node0"), *runs.glob("train-nodes-node/*-node1")
    assert json.loads((first / "result.json").read_text())["evidence"] == ["sum 4"]
    assert (first / "outputs/Toy/out/made").read_text() == "x"
    assert json.loads((other / "result.json").read_text())["status"] == "succeeded"
    assert json.loads((first / "run.json").read_text())["environment"]["DRIVEBUILD_NODES"] == "2"


def test_a_training_without_its_data_ends_at_once_and_says_so(spawning: tuple[Cluster, Path]) -> None:
    cluster, recipes = spawning
    words = ("k8s", "toyrun", "train-nodes", "--nodes", "2", "--platform", PLATFORM)
    cluster.apply(drivebuild("--recipes", str(recipes), *words).stdout)
    (cluster.claims / "nuscenes/maps").rmdir()
    zero = cluster.start(0)
    assert cluster.wait(zero, LONG) == 125
    assert "the dataset lacks maps" in cluster.log(zero)

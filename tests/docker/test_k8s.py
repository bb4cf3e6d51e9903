"""Two nodes that meet: the pods of a rendered manifest, each in a network namespace of its own, with the real launcher.

torchrun and torch's gloo come from the real image's environment; what the image would have beside it (`drivebuild-job`,
the table of jobs) is laid on top, as its last stage does. No name, variable or command is this test's own: all of them
come out of `drivebuild k8s` (tests/support/kubelet.py). DRIVEBUILD_TEST_TORCH may name another image with torch in it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cli import drivebuild
from support.jobs import write_context
from support.kubelet import Cluster, docker

from builder.engine.host import Engine
from builder.recipe.types import Catalog

pytestmark = pytest.mark.docker

PLATFORM = "debian-12-cpu"
ENVIRONMENTS = ("drivebuild/streampetr:debian-12-cpu-stock", "drivebuild/streampetr:debian-12-cpu-stock-env")
LONG = 900.0
"""Seconds after which something hangs: torch alone takes some to be imported on two processors, four times."""
Start = Callable[..., Cluster]


@pytest.fixture(scope="module")
def image(engine: Engine, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return an image of StreamPETR's environment with the scripts of today."""
    named = [name for name in (os.environ.get("DRIVEBUILD_TEST_TORCH"), *ENVIRONMENTS) if name]
    found = [name for name in named if engine.image(name) is not None]
    if not found:
        pytest.skip(f"NO IMAGE: {' or '.join(ENVIRONMENTS)}; make it with `drivebuild image streampetr -p {PLATFORM}`")
    context = write_context(catalog, tmp_path_factory.mktemp("k8s") / "context", PLATFORM, "streampetr")
    text = (context / "Dockerfile").read_text()
    head, _, _ = text.partition("RUN ")
    folder = "/workspace/streampetr"
    text = head.replace("FROM localhost/drivebuild/base:debian-12", f"FROM {found[0]}\nUSER root")
    (context / "Dockerfile").write_text(f"{text}RUN mkdir -p {folder}/.home && chmod 777 {folder}/.home\n")
    tag = "drivebuild-test/k8s:1"
    docker("build", "--quiet", "--tag", tag, str(context))
    yield tag
    docker("image", "rm", "--force", tag)


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

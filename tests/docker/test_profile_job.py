"""`drivebuild profile` over a job of a model, as on platforms for NPUs: real containers, real counts, and no NPU."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.files import REPOSITORY
from support.jobs import CPU, Site, write_context, write_recipes
from support.locks import with_locks

from builder.source.catalog import read_catalog

pytestmark = pytest.mark.docker
TAG = f"drivebuild/toyrun:{CPU}-pgo-instrument"
PROGRAM = """\
#include <signal.h>
#include <stdlib.h>
__attribute__((noinline)) int busy(int count) {
    int sum = 0;
    for (int i = 0; i < count; i++) sum += rand() % 3;
    return sum;
}
int main(int count, char **words) {
    int sum = busy(1000);
    if (count > 1) raise(SIGKILL);
    return sum < 0;
}
"""
JOBS = {
    "counting": "count & count & wait; echo 'mAP: 0.41'",
    "killed": "count & count now & wait; echo 'mAP: 0.41'",
    "failing": "count; exit 3",
}
COMPONENT = """\
name: ops
title: Operators
template: wheel
package: ops
versions: {"1": {cpu: mmcv-full-1.7.2-sdist}}
hot: {cpu: [busy]}
"""


def docker(*words: str) -> None:
    done = subprocess.run(("docker", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def recipes(toolchain: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder of recipes with a model, a component and a platform of its own; both images are there."""
    folder = tmp_path_factory.mktemp("profiled")
    recipes = write_recipes(folder / "recipes")
    model = json.loads((recipes / "models/toyrun.yaml").read_text())
    job = next(each for each in model["jobs"] if each["name"] == "good")
    model["jobs"] = [
        {**job, "name": name, "command": ["bash", "-c", text], "outputs": []} for name, text in JOBS.items()
    ]
    model["components"] = [{"name": "ops", "version": "1"}]
    (recipes / "models/toyrun.yaml").write_text(json.dumps(model))
    (recipes / "components").mkdir()
    (recipes / "components/ops.yaml").write_text(COMPONENT)
    platform = yaml.safe_load((REPOSITORY / f"builder/recipes/platforms/{CPU}.yaml").read_text())
    platform["optimised"] |= {"components": ["ops"], "workload": "job"}
    (recipes / "platforms").mkdir()
    (recipes / f"platforms/{CPU}.yaml").write_text(json.dumps(platform))
    context = write_context(with_locks(read_catalog((recipes,))), folder / "image", CPU)
    (context / "count.c").write_text(PROGRAM)
    # A plain system finds no program whose group may not; the folder is the caller's.
    compile_it = "/opt/toolchain/bin/clang -O1 -fprofile-generate /image/count.c -o /image/count"
    docker("run", "--rm", "--volume", f"{context}:/image", toolchain, "sh", "-c", compile_it)
    with (context / "Dockerfile").open("a") as file:
        file.write("COPY --chmod=755 count /usr/local/bin/count\n")
    docker("build", "--quiet", "--tag", TAG, str(context))
    docker("tag", toolchain, f"{TAG}-toolchain")
    yield recipes
    docker("image", "rm", "--force", TAG, f"{TAG}-toolchain")


@pytest.fixture
def site(recipes: Path, tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder, recipes)


def words(job: str) -> tuple[str, ...]:
    return ("profile", "toyrun", "--platform", CPU, "--job", job, "--no-build", "--json")


def test_what_a_job_counted_is_kept(site: Site, tmp_path: Path) -> None:
    done = site.drivebuild(*words("counting"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert (found["processes"], found["raw"], found["ranks"]) == (2, 2, 1)
    assert found["ran"] == found["functions"] == 2
    assert (found["workload"], found["hot"], list(found["fingerprint"])) == ("job counting", ["busy"], ["ops"])
    assert "clang version 19" in found["compiler"]["version"]
    assert found["sources"]["mmcv-full-1.7.2-sdist"].startswith("sha256:")
    kept = tmp_path / "state/drivebuild/profiles" / found["sha256"]
    assert sorted(path.name for path in kept.iterdir()) == ["default.profdata", "provenance.json"]
    listed = json.loads(site.drivebuild("profile", "--list", "--json").stdout)
    assert [each["sha256"] for each in listed["profiles"]] == [found["sha256"]]
    dry = site.drivebuild("image", "toyrun", "--platform", CPU, "--pgo=use", "--dry-run")
    assert f"--build-context profile={kept}" in dry.stdout, dry.stderr


def test_of_a_job_that_fails_nothing_is_kept(site: Site, tmp_path: Path) -> None:
    done = site.drivebuild(*words("failing"))
    assert done.returncode == 7
    assert "status 3; its profile is discarded" in done.stderr
    assert not (tmp_path / "state/drivebuild/profiles").exists()


def test_a_rank_that_is_killed_leaves_no_profile(site: Site) -> None:
    """A job without NPUs has one rank that must leave its counts; the job of two here loses one and cannot tell."""
    done = site.drivebuild(*words("killed"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout[done.stdout.index("{") :])["processes"] == 1


def test_what_cannot_be_profiled_says_so(site: Site) -> None:
    nobody = site.drivebuild("profile", "toyrun", "--platform", f"{CPU}", "--job", "none", "--no-build")
    assert nobody.returncode == 2
    assert "has no job 'none'" in nobody.stderr
    assert site.drivebuild("profile").returncode == 2
    stub = site.drivebuild("profile", "streampetr", "--platform", "cann-8.1.rc1-stub")
    assert stub.returncode == 4
    assert "has no variant 'pgo-instrument'" in stub.stderr

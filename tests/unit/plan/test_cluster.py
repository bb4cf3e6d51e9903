"""What a cluster runs: the launch over several nodes, what is refused and why, and the table that nodes are given."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import PlanError, UsageError
from builder.plan.cluster import FOLLOWER, RENDEZVOUS, ClusterRun, cluster_run, launchable
from builder.plan.clustersite import LONGEST_NAME, ClusterSite, checked, pairs, plain_name
from builder.plan.jobs import job_table
from builder.plan.select import choices
from builder.recipe.types import Catalog

NPU_MODELS = ("flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer")


def run(catalog: Catalog, model: str, job: str, nodes: int = 1, platform: str = "") -> ClusterRun:
    recipe = catalog.models[model]
    return cluster_run(recipe, catalog.platforms[platform or recipe.platform], "stock", choices(recipe, {}), job, nodes)


# --- one node -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", NPU_MODELS)
def test_on_one_node_the_job_is_what_it_is_in_compose(catalog: Catalog, model: str) -> None:
    made = run(catalog, model, "train-8p")
    assert made.launch is None
    assert made.table is None
    assert made.npus == 8


def test_without_npus_a_job_has_none(catalog: Catalog) -> None:
    assert run(catalog, "streampetr", "smoke", platform="debian-12-cpu").npus == 0


# --- several nodes --------------------------------------------------------------------------------


def test_a_launch_takes_the_place_of_the_command(catalog: Catalog) -> None:
    made = run(catalog, "streampetr", "train-8p", 2)
    assert made.table is not None
    first = made.table["jobs"]["train-8p"]
    assert first["command"][:3] == ["bash", "/opt/drivebuild/k8s/torchrun.sh", "tools/train.py"]
    assert "--no-validate" in first["command"]
    assert made.processes == 8
    assert made.batch == 32
    # What is checked, kept and judged before and after is the job's own.
    own = job_table(made.model, made.platform, "stock", {})["jobs"]["train-8p"]
    for key in ("kind", "directory", "npus", "environment", "outputs", "data", "weights", "failures"):
        assert first[key] == own[key]


@pytest.mark.parametrize(("nodes", "steps", "interval"), [(2, 21096, 879), (3, 14064, 586), (4, 10548, 439)])
def test_steps_are_divided_because_each_takes_more_samples(
    catalog: Catalog, nodes: int, steps: int, interval: int
) -> None:
    made = run(catalog, "streampetr", "train-8p", nodes)
    assert made.table is not None
    command = made.table["jobs"]["train-8p"]["command"]
    wanted = ["--cfg-options", f"runner.max_iters={steps}", f"checkpoint_config.interval={interval}"]
    assert command[-3:] == wanted
    # 24 epochs of 28130 samples, to less than one in a hundred.
    assert abs(steps * 16 * nodes / (24 * 28130) - 1) < 0.01


def test_config_options_are_not_said_twice(catalog: Catalog) -> None:
    for model in catalog.models.values():
        for name in launchable(model, catalog.platforms[model.platform], choices(model, {})):
            made = run(catalog, model.name, name, 2)
            assert made.table is not None
            command = made.table["jobs"][name]["command"]
            assert command.count("--cfg-options") <= 1
            if "--cfg-options" in command:
                # It takes all that follows.
                rest = command[command.index("--cfg-options") + 1 :]
                assert rest
                assert all(re.match(r"[a-z_.]+=", word) for word in rest)


def test_only_node_0_must_print_the_proof(catalog: Catalog) -> None:
    made = run(catalog, "panoocc", "train-8p", 2)
    assert made.table is not None
    jobs = made.table["jobs"]
    first, other = jobs["train-8p"], jobs[f"train-8p{FOLLOWER}"]
    assert first["success"] == "mmdet - INFO - Saving checkpoint at 24 epochs"
    assert other["success"] == ""
    assert other["quiet_minutes"] == 1440
    same = set(first) - {"success", "quiet_minutes", "title"}
    assert {key: first[key] for key in same} == {key: other[key] for key in same}


def test_the_other_jobs_stay_in_the_table(catalog: Catalog) -> None:
    # Where the outputs of all jobs lead is linked for each.
    made = run(catalog, "streampetr", "rendezvous", 2)
    assert made.table is not None
    recipe = catalog.models["streampetr"]
    own = job_table(recipe, catalog.platforms[recipe.platform], "stock", {})["jobs"]
    assert {name: made.table["jobs"][name] for name in own} == own
    assert set(made.table["jobs"]) - set(own) == {"rendezvous", "rendezvous-node"}


def test_a_program_that_starts_its_processes_itself(catalog: Catalog) -> None:
    made = run(catalog, "tpvformer", "train-8p", 4)
    assert made.table is not None
    command = made.table["jobs"]["train-8p"]["command"]
    assert command[:4] == ["bash", "/opt/drivebuild/k8s/environment.sh", "python", "train.py"]
    # Held against the NPUs of one node by an edit of the recipe (T7).
    assert made.table["jobs"]["train-8p"]["environment"]["RANK_SIZE"] == "8"


@pytest.mark.parametrize("model", NPU_MODELS)
def test_checkpoints_lie_where_the_evaluation_looks(catalog: Catalog, model: str) -> None:
    recipe = catalog.models[model]
    train = next(job for job in recipe.jobs if job.name == "train-8p")
    if train.launch is None:
        assert train.single_node
        return
    folder = next(word for word in train.launch.command if word.startswith("--work-dir=")).partition("=")[2]
    for job in recipe.jobs:
        if job.name == "eval":
            pattern = re.escape(job.checkpoint.rpartition("/")[0]).replace(r"\*", "[^/]*")
            assert re.fullmatch(pattern, f"{recipe.tree.directory}/{folder}"), job.checkpoint


def test_a_rendezvous_is_every_models(catalog: Catalog) -> None:
    for name, recipe in catalog.models.items():
        made = run(catalog, name, "rendezvous", 2)
        assert made.processes == 8
        cpu = run(catalog, name, "rendezvous", 1, "debian-12-cpu")
        assert (cpu.npus, cpu.processes) == (0, 2)
        assert RENDEZVOUS.name not in {job.name for job in recipe.jobs}


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "job", "reason"),
    [
        ("streampetr", "eval", "in a folder of one machine"),
        ("flashocc", "eval", "in a folder of one machine"),
        ("pivotnet", "train-8p", "the constant 'Host'"),
        ("tpvformer", "train-1p", "one NPU"),
        ("panoocc", "prepare-data", "one process converts the dataset"),
        ("panoocc", "smoke", "only imports"),
    ],
)
def test_a_job_of_one_node_says_why(catalog: Catalog, model: str, job: str, reason: str) -> None:
    with pytest.raises(PlanError) as caught:
        run(catalog, model, job, 2)
    assert f"{model} {job} cannot run on 2 nodes: " in caught.value.message
    assert reason in caught.value.message
    assert "rendezvous" in caught.value.hint


@pytest.mark.parametrize("nodes", [0, -1, 1025])
def test_numbers_of_nodes_that_cannot_be(catalog: Catalog, nodes: int) -> None:
    with pytest.raises(UsageError, match="expected a number from 1 to 1024"):
        run(catalog, "streampetr", "train-8p", nodes)


def test_unknown_jobs(catalog: Catalog) -> None:
    with pytest.raises(UsageError) as caught:
        run(catalog, "streampetr", "train-8")
    assert caught.value.hint == "did you mean 'train-8p'?"
    with pytest.raises(UsageError) as caught:
        run(catalog, "streampetr", "train-8p", platform="debian-12-cpu")
    assert caught.value.hint == "it wants NPUs: leave --platform debian-12-cpu out"
    with pytest.raises(UsageError, match="wants a terminal"):
        run(catalog, "streampetr", "shell")


# --- a place in a cluster -------------------------------------------------------------------------

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "image",
    [
        "drivebuild/streampetr:cann-8.1.rc1-stock",
        "localhost:5000/team/x:1",
        f"registry.example.org/a/b@{DIGEST}",
        f"registry.example.org:443/a/b__c/d-e:T_1.x@{DIGEST}",
        f"busybox@{DIGEST}",
    ],
)
def test_references_of_images(image: str) -> None:
    site = ClusterSite(name="x", image=image)
    assert checked(site) is site


@pytest.mark.parametrize(
    ("image", "sign"),
    [
        ("", "no reference"),
        ("Team/x:1", "no reference"),
        ("a//b:1", "no reference"),
        ("a/b:", "no reference"),
        ("a/b:1 --privileged", "no reference"),
        ("a/b:1\nx: y", "no reference"),
        ("a/b:1\n", "no reference"),
        ("a/b@sha256:123", "no reference"),
        ("https://registry.example.org/a/b:1", "no reference"),
        ("a/b", "has neither tag nor digest"),
    ],
)
def test_texts_that_are_no_images(image: str, sign: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(ClusterSite(name="x", image=image))
    assert sign in caught.value.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "1x"},
        {"name": "X"},
        {"name": "x."},
        {"name": "a" * (LONGEST_NAME + 1)},
        {"namespace": "a.b"},
        {"namespace": "-a"},
        {"dataset_claim": "Nu_Scenes"},
        {"dataset_claim": ""},
        {"dataset_claim": "a" * 254},
        {"output_claim": "a..b"},
        {"output_claim": "../x"},
        {"pull_secret": "a b"},
        {"queue": "a\nb"},
        {"cpu": "0"},
        {"cpu": "many"},
        {"memory": "12 Gi"},
        {"memory": "-1"},
        {"labels": {"a": "b c"}},
        {"labels": {"a": "x" * 64}},
        {"node_labels": {"a": "-"}},
        {"annotations": {"a": "b\nc"}},
        {"arguments": ("\udcff",)},
    ],
)
def test_what_a_cluster_would_refuse_is_refused_here(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="expected"):
        checked(ClusterSite(**{"name": "x", "image": "a/b:1", **wrong}))  # type: ignore[arg-type]


def test_what_a_cluster_takes() -> None:
    site = ClusterSite(
        name="train-1",
        image="a/b:1",
        namespace="team-a",
        dataset_claim="nuscenes.v1",
        output_claim="9lives",
        queue="default",
        cpu="0.5",
        memory="512Gi",
        labels={"kueue.x-k8s.io/queue-name": "", "tor-affinity": "normal-schema"},
        annotations={"sp-block": "anything that is a line"},
        node_labels={"accelerator-type": ""},
    )
    assert checked(site) is site


@pytest.mark.parametrize("text", ["a", "=b", "a b=c", "-x=1", "Bad_Domain/x=1", "a/b/c=1", "a/=1", "é=1"])
def test_texts_that_are_no_pairs(text: str) -> None:
    with pytest.raises(UsageError, match="--label"):
        pairs("--label", [text])


def test_pairs() -> None:
    assert pairs("--label", ["a=b=c", "x.y/z="]) == {"a": "b=c", "x.y/z": ""}


@given(st.text(max_size=200))
def test_a_plain_name_is_a_name_or_nothing(text: str) -> None:
    name = plain_name(text)
    assert len(name) <= LONGEST_NAME
    assert not name or re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)

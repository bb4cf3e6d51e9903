"""Manifests: what Kubernetes' published schemas take, what a pod may not do, what the nodes of one job agree about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from referencing import Registry, Resource
from support.clusterfields import ASCENDJOB, VOLCANO, VOLCANO_EVENTS, strangers

from builder.errors import UsageError
from builder.plan.cluster import cluster_run, launchable
from builder.plan.clustersite import ClusterSite
from builder.plan.jobs import job_kind, offered
from builder.plan.select import choices
from builder.recipe.types import Catalog
from builder.render.k8s import KINDS, check_kind, manifests, needs_prepared, render_k8s
from builder.render.pod import Kind
from builder.render.yamltext import dump_documents

HOSTILE = (
    *(
        "x: y",
        "- x",
        "#",
        "x # y",
        "'",
        '"',
        "\\",
        "{{ 7 }}",
        "$(touch x)",
        "`touch x`",
        "*x",
        "&x",
        "!!python/name:os.system",
    ),
    *("---", "...", "%YAML 1.1", "| \\", ">", "privileged: true", "\u200b", "a" * 2000),
)
"""One line each, as the loader lets it pass."""
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RELEASES = ("1.28", "1.31", "1.34", "1.37")
CPU = "debian-12-cpu"
Documents = tuple[dict[str, Any], ...]


def rendered(
    catalog: Catalog,
    templates: Mapping[str, str],
    job: str,
    *,
    model: str = "streampetr",
    nodes: int = 1,
    kind: Kind = "job",
    platform: str = "",
    **site: Any,
) -> Documents:
    """Return the documents of a run."""
    recipe = catalog.models[model]
    run = cluster_run(recipe, catalog.platforms[platform or recipe.platform], "stock", choices(recipe, {}), job, nodes)
    place = ClusterSite(**{"name": f"{model}-{job}", "image": "registry.example.org/x:1", **site})
    check_kind(run, place, kind)
    return manifests(run, place, kind, templates)


def pods(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the templates of a job's pods."""
    spec = job["spec"]
    if job["kind"] == "AscendJob":
        yield from (each["template"] for each in spec["replicaSpecs"].values())
    elif "tasks" in spec:
        yield from (each["template"] for each in spec["tasks"])
    else:
        yield spec["template"]


def pod(documents: Documents) -> dict[str, Any]:
    found = list(pods(documents[-1]))
    assert all(each == found[0] for each in found)
    return found[0]


def variables(documents: Documents) -> dict[str, str]:
    container = pod(documents)["spec"]["containers"][0]
    return {each["name"]: each.get("value") or each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"]}


def everything(catalog: Catalog) -> list[tuple[str, str, str, int, Kind]]:
    """Return every run that there is: model, platform, job, nodes, kind."""
    found: list[tuple[str, str, str, int, Kind]] = []
    for model in catalog.models.values():
        for platform in (catalog.platforms[model.platform], catalog.platforms[CPU]):
            several = launchable(model, platform, choices(model, {}))
            names = [job.name for job in offered(model, platform, choices(model, {})) if job_kind(job) != "shell"]
            for job in (*names, "rendezvous"):
                for nodes in (1, 3) if job in several else (1,):
                    found += [(model.name, platform.name, job, nodes, kind) for kind in KINDS]
    return found


# --- schemas --------------------------------------------------------------------------------------


@cache
def schema(release: str, kind: str) -> Any:
    """Return the strict validator of one kind of object of one release; the package reads 4 MB for each check."""
    folder = f"kubernetes-json-schema/v{release}.0-local-strict"
    own = kubernetes_validate.utils.schema_contents(f"{folder}/{kind}.json", release)
    shared = kubernetes_validate.utils.schema_contents(f"{folder}/_definitions.json", release)
    resources = [Resource.from_contents(own), Resource.from_contents(shared)]
    registry: Any = resources @ Registry()
    return jsonschema.Draft202012Validator(own, registry=registry)


def check(document: Mapping[str, Any], release: str) -> None:
    kinds = {
        "ConfigMap": "configmap-v1",
        "Service": "service-v1",
        "Job": "job-batch-v1",
        "PodTemplate": "podtemplate-v1",
    }
    schema(release, kinds[document["kind"]]).validate(document)


def test_every_manifest_is_valid_by_the_published_schemas(catalog: Catalog, templates: dict[str, str]) -> None:
    count = 0
    for number, (model, platform, job, nodes, kind) in enumerate(everything(catalog)):
        try:
            documents = rendered(catalog, templates, job, model=model, nodes=nodes, kind=kind, platform=platform)
        except UsageError:
            assert kind == "ascendjob"
            continue
        # Each release sees a part of them, which is every kind of them.
        release = RELEASES[number % len(RELEASES)]
        for document in documents if kind == "job" else documents[:-1]:
            check(document, release)
        for template in pods(documents[-1]):
            wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
            check(wrapped, release)
        count += 1
    assert count > 100


@pytest.mark.parametrize("release", RELEASES)
def test_releases_of_kubernetes(catalog: Catalog, templates: dict[str, str], release: str) -> None:
    for document in rendered(catalog, templates, "train-8p", nodes=2):
        kubernetes_validate.validate(document, release, strict=True)


def test_the_text_says_the_documents(catalog: Catalog, templates: dict[str, str]) -> None:
    runs: tuple[tuple[str, int, Kind], ...] = (
        ("panoocc", 2, "volcano"),
        ("tpvformer", 3, "ascendjob"),
        ("pivotnet", 1, "job"),
    )
    for model, nodes, kind in runs:
        recipe = catalog.models[model]
        platform = catalog.platforms[recipe.platform]
        run = cluster_run(recipe, platform, "stock", choices(recipe, {}), "train-8p", nodes)
        place = ClusterSite(name="x", image="a/b:1", arguments=("a: b", "#", "\n"))
        assert tuple(yaml.safe_load_all(render_k8s(run, place, kind, templates))) == manifests(
            run, place, kind, templates
        )


def test_the_schemas_find_mistakes(catalog: Catalog, templates: dict[str, str]) -> None:
    job = rendered(catalog, templates, "smoke", platform=CPU)[-1]
    job["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(jsonschema.ValidationError, match="volumeMount"):
        check(job, RELEASES[0])


@pytest.mark.parametrize("nodes", [1, 2])
def test_volcano_knows_the_fields(catalog: Catalog, templates: dict[str, str], nodes: int) -> None:
    job = rendered(catalog, templates, "train-8p", nodes=nodes, kind="volcano", queue="team")[-1]
    assert (job["apiVersion"], job["kind"]) == ("batch.volcano.sh/v1alpha1", "Job")
    assert list(strangers(job["spec"], VOLCANO)) == []
    said = {event for policy in job["spec"]["policies"] for event in policy.get("events", [policy.get("event")])}
    assert said == VOLCANO_EVENTS
    assert job["spec"]["minAvailable"] == nodes
    assert job["spec"]["queue"] == "team"


@pytest.mark.parametrize("nodes", [1, 3])
def test_ascends_operator_knows_the_fields(catalog: Catalog, templates: dict[str, str], nodes: int) -> None:
    job = rendered(catalog, templates, "train-8p", nodes=nodes, kind="ascendjob", queue="team")[-1]
    assert (job["apiVersion"], job["kind"]) == ("mindxdl.gitee.com/v1", "AscendJob")
    assert list(strangers(job["spec"], ASCENDJOB)) == []
    assert job["metadata"]["labels"]["framework"] == "pytorch"
    # One Master at most; the others are Workers.
    counts = {name: each["replicas"] for name, each in job["spec"]["replicaSpecs"].items()}
    assert counts == ({"Master": 1} if nodes == 1 else {"Master": 1, "Worker": 2})
    assert job["spec"]["runPolicy"]["schedulingPolicy"] == {"minAvailable": nodes, "queue": "team"}
    container = pod((job,))["spec"]["containers"][0]
    assert container["name"] == "ascend"
    if nodes > 1:
        assert container["ports"] == [{"containerPort": 2222, "name": "ascendjob-port"}]


def test_ascends_operator_is_told_a_queue_and_no_retries(catalog: Catalog, templates: dict[str, str]) -> None:
    # component/ascend-operator/pkg/controllers/v1: ascendjob_validate.go asks for the queue by its name, and job.go
    # takes a backoffLimit of 0 for none.
    job = rendered(catalog, templates, "train-8p", nodes=2, kind="ascendjob")[-1]
    assert job["spec"]["runPolicy"]["schedulingPolicy"]["queue"] == "default"
    assert "backoffLimit" not in job["spec"]["runPolicy"]
    assert "fault-retry-times" not in job["metadata"]["labels"]


def test_the_list_of_fields_finds_strangers() -> None:
    assert list(strangers({"task": []}, VOLCANO)) == ["spec.task"]
    assert list(strangers({"tasks": [{"replicas": "2"}]}, VOLCANO)) == ["spec.tasks[0].replicas"]
    assert list(strangers({"runPolicy": {"queue": "x"}}, ASCENDJOB)) == ["spec.runPolicy.queue"]


# --- what a pod may not ---------------------------------------------------------------------------


def test_no_pod_has_rights_that_it_does_not_need(catalog: Catalog, templates: dict[str, str]) -> None:
    for model, platform, job, nodes, kind in everything(catalog):
        if kind == "ascendjob":
            continue
        documents = rendered(catalog, templates, job, model=model, nodes=nodes, kind=kind, platform=platform)
        spec = pod(documents)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        container = spec["containers"][0]
        context = container["securityContext"]
        assert (context["privileged"], context["allowPrivilegeEscalation"]) == (False, False)
        assert context["capabilities"] == {"drop": ["ALL"]}
        lent = {each["name"] for each in spec["volumes"] if "hostPath" in each}
        for mount in container["volumeMounts"]:
            assert mount["name"] not in lent or mount["readOnly"] is True
        if platform == CPU:
            assert not lent
            assert "nodeSelector" not in spec
            assert "huawei" not in json.dumps(documents)


def test_rules_that_no_schema_says(catalog: Catalog, templates: dict[str, str]) -> None:
    # What the API server refuses all the same: k8s.io/kubernetes, pkg/apis/core/validation.
    for model, platform, job, nodes, kind in everything(catalog):
        if kind == "ascendjob":
            continue
        documents = rendered(catalog, templates, job, model=model, nodes=nodes, kind=kind, platform=platform)
        spec = pod(documents)["spec"]
        container = spec["containers"][0]
        paths = [each["mountPath"] for each in container["volumeMounts"]]
        assert len(set(paths)) == len(paths)
        names = [each["name"] for each in spec["volumes"]]
        assert len(set(names)) == len(names)
        assert set(names) == {each["name"] for each in container["volumeMounts"]}
        assert all(re.fullmatch(r"[a-z0-9-]{1,15}", each["name"]) for each in container.get("ports", ()))
        variables_ = [each["name"] for each in container["env"]]
        assert len(set(variables_)) == len(variables_)
        for document in documents:
            for key, value in document["metadata"]["labels"].items():
                assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", value), (key, value)
        # The longest name of a pod, and what a Service may be called.
        assert len(f"{documents[-1]['metadata']['name']}-node-{nodes}") <= 63
        assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", documents[-1]["metadata"]["name"])


def test_without_npus_a_pod_fits_the_strictest_level(catalog: Catalog, templates: dict[str, str]) -> None:
    # kubernetes.io/docs/concepts/security/pod-security-standards, `restricted`
    for job, nodes in (("smoke", 1), ("prepare-data", 1), ("rendezvous", 2)):
        spec = pod(rendered(catalog, templates, job, nodes=nodes, platform=CPU))["spec"]
        for volume in spec["volumes"]:
            assert set(volume) & {"configMap", "emptyDir", "persistentVolumeClaim"}
        for each in spec["containers"][0].get("ports", ()):
            assert "hostPort" not in each


def test_the_dataset_is_only_read(catalog: Catalog, templates: dict[str, str]) -> None:
    for job in ("train-8p", "prepare-data"):
        spec = pod(rendered(catalog, templates, job, dataset_claim="nu"))["spec"]
        volume = next(each for each in spec["volumes"] if each["name"] == "dataset")
        assert volume["persistentVolumeClaim"] == {"claimName": "nu", "readOnly": True}
        mounts = {each["mountPath"]: each for each in spec["containers"][0]["volumeMounts"]}
        assert mounts["/data/nuscenes"]["readOnly"] is True
        # Only the conversion writes there.
        assert mounts["/data/prepared"].get("readOnly", False) is (job == "train-8p")
        assert mounts["/data/prepared"]["subPath"] == "prepared/streampetr"
        assert mounts["/runs"] == {"name": "output", "mountPath": "/runs", "subPath": "runs"}


def test_what_needs_no_claim_asks_for_none(catalog: Catalog, templates: dict[str, str]) -> None:
    for job in ("smoke", "rendezvous"):
        volumes = pod(rendered(catalog, templates, job, platform=CPU))["spec"]["volumes"]
        assert not [each for each in volumes if "persistentVolumeClaim" in each]


def test_shared_memory_is_the_jobs(catalog: Catalog, templates: dict[str, str]) -> None:
    volumes = pod(rendered(catalog, templates, "train-8p"))["spec"]["volumes"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}} in volumes


# --- NPUs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_npus_are_asked_for(catalog: Catalog, templates: dict[str, str], kind: Kind) -> None:
    documents = rendered(catalog, templates, "train-8p", nodes=2, kind=kind)
    template = pod(documents)
    container = template["spec"]["containers"][0]
    assert container["resources"]["limits"]["huawei.com/Ascend910"] == 8
    assert container["resources"]["requests"]["huawei.com/Ascend910"] == 8
    assert template["spec"]["nodeSelector"] == {"accelerator-type": "module-910b-8"}
    seen = variables(documents)
    # Without Volcano there is no such annotation, and the device plugin brings the devices by itself.
    assert ("ASCEND_VISIBLE_DEVICES" in seen) is (kind != "job")
    assert ("ring-controller.atlas" in template["metadata"]["labels"]) is (kind != "job")
    assert seen["HCCL_IF_IP"] == "status.podIP"
    paths = {each["hostPath"]["path"] for each in template["spec"]["volumes"] if "hostPath" in each}
    assert paths == {"/usr/local/Ascend/driver", "/etc/ascend_install.info", "/etc/hccn.conf"}
    term = template["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_one_node_talks_to_no_other(catalog: Catalog, templates: dict[str, str]) -> None:
    documents = rendered(catalog, templates, "train-8p")
    assert len(documents) == 1
    text = json.dumps(documents)
    assert "hccn.conf" not in text
    assert "affinity" not in text
    container = pod(documents)["spec"]["containers"][0]
    assert container["command"] == ["/opt/drivebuild/entrypoint", "drivebuild-job"]
    assert container["args"] == ["train-8p"]


# --- the nodes of one job -------------------------------------------------------------------------


def test_a_job_of_kubernetes_finds_its_first_node_by_name(catalog: Catalog, templates: dict[str, str]) -> None:
    given, service, job = rendered(catalog, templates, "train-8p", nodes=4, name="night", namespace="team")
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 4, 4)
    seen = variables((job,))
    assert seen["MASTER_ADDR"] == "night-0.night"
    assert seen["NODE_RANK"] == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert (seen["NNODES"], seen["NPROC_PER_NODE"], seen["MASTER_PORT"]) == ("4", "8", "29500")
    spec = job["spec"]["template"]["spec"]
    assert spec["subdomain"] == service["metadata"]["name"] == "night"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["ports"][0]["port"] == 29500
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert {each["metadata"]["namespace"] for each in (given, service, job)} == {"team"}
    # No launcher takes a lost node back, so nothing is started a second time.
    assert job["spec"]["backoffLimit"] == 0
    assert spec["restartPolicy"] == "Never"


def test_volcanos_first_node_is_found_by_its_plugins(catalog: Catalog, templates: dict[str, str]) -> None:
    documents = rendered(catalog, templates, "train-8p", nodes=2, kind="volcano", name="night")
    assert [each["kind"] for each in documents] == ["ConfigMap", "Job"]
    assert set(documents[-1]["spec"]["plugins"]) == {"svc", "env"}
    seen = variables(documents)
    assert seen["MASTER_ADDR"] == "night-node-0.night"
    assert "NODE_RANK" not in seen


def test_the_operator_says_who_is_first(catalog: Catalog, templates: dict[str, str]) -> None:
    seen = variables(rendered(catalog, templates, "train-8p", nodes=2, kind="ascendjob"))
    assert not {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "RANK", "WORLD_SIZE"} & set(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_the_nodes_are_given_what_their_image_lacks(catalog: Catalog, templates: dict[str, str], kind: Kind) -> None:
    documents = rendered(catalog, templates, "train-8p", nodes=2, kind=kind)
    given = documents[0]
    assert set(given["data"]) == {"jobs.json", "node.sh", "torchrun.sh"}
    table = json.loads(given["data"]["jobs.json"])
    assert table["jobs"]["train-8p"]["command"][1] == "/opt/drivebuild/k8s/torchrun.sh"
    assert given["data"]["torchrun.sh"].startswith("#!/bin/bash\n")
    # A ConfigMap holds a MiB.
    assert sum(map(len, given["data"].values())) < 100_000
    spec = pod(documents)["spec"]
    mounts = {each["mountPath"]: each for each in spec["containers"][0]["volumeMounts"]}
    assert mounts["/opt/drivebuild/jobs.json"]["subPath"] == "jobs.json"
    assert mounts["/opt/drivebuild/k8s"]["readOnly"] is True
    volume = next(each for each in spec["volumes"] if each["name"] == "drivebuild")
    assert volume["configMap"]["name"] == given["metadata"]["name"]


@pytest.mark.parametrize("kind", KINDS)
def test_pods_may_have_their_nodes_network(catalog: Catalog, templates: dict[str, str], kind: Kind) -> None:
    documents = rendered(catalog, templates, "train-8p", nodes=2, kind=kind, host_network=True)
    template = pod(documents)
    assert template["spec"]["hostNetwork"] is True
    # Without it, a pod with its node's network would ask its node for names.
    assert template["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert variables(documents)["HCCL_IF_IP"] == "status.podIP"
    check({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}, RELEASES[-1])


def test_another_launcher_is_given_instead(catalog: Catalog, templates: dict[str, str]) -> None:
    given = rendered(catalog, templates, "train-8p", model="tpvformer", nodes=2)[0]
    assert set(given["data"]) == {"jobs.json", "node.sh", "environment.sh"}
    given = rendered(catalog, templates, "rendezvous", model="tpvformer")[0]
    assert set(given["data"]) == {"jobs.json", "node.sh", "torchrun.sh", "rendezvous.py"}


def test_a_laptops_pods_may_share_a_node(catalog: Catalog, templates: dict[str, str]) -> None:
    affinity = pod(rendered(catalog, templates, "rendezvous", nodes=2, platform=CPU))["spec"]["affinity"]
    assert list(affinity["podAntiAffinity"]) == ["preferredDuringSchedulingIgnoredDuringExecution"]


# --- what the caller says -------------------------------------------------------------------------


def test_what_the_caller_says_is_there(catalog: Catalog, templates: dict[str, str]) -> None:
    documents = rendered(
        catalog,
        templates,
        "train-8p",
        nodes=2,
        pull_secret="regcred",  # noqa: S106
        uid=2000,
        gid=3000,
        cpu="64",
        memory="512Gi",
        labels={"tor-affinity": "normal-schema"},
        annotations={"sp-block": "16"},
        node_labels={"accelerator-type": "", "kubernetes.io/arch": "arm64"},
        arguments=("optimizer.lr=8e-4", "$(HOME)", "$$x"),
    )
    template = pod(documents)
    spec, container = template["spec"], template["spec"]["containers"][0]
    assert spec["imagePullSecrets"] == [{"name": "regcred"}]
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (2000, 3000)
    assert spec["securityContext"]["fsGroup"] == 3000
    # The NPUs' devices and the model's folder stay the group's of the image.
    assert spec["securityContext"]["supplementalGroups"] == [1000]
    assert container["resources"]["requests"] == {"huawei.com/Ascend910": 8, "cpu": "64", "memory": "512Gi"}
    assert container["resources"]["limits"] == {"huawei.com/Ascend910": 8, "memory": "512Gi"}
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    for metadata in (documents[-1]["metadata"], template["metadata"]):
        assert metadata["labels"]["tor-affinity"] == "normal-schema"
        assert metadata["annotations"] == {"sp-block": "16"}
    # Kubernetes replaces $(NAME) and makes one $ of two.
    assert container["args"] == ["train-8p", "optimizer.lr=8e-4", "$$(HOME)", "$$$$x"]


def test_a_kind_that_cannot_be_is_refused(catalog: Catalog, templates: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="uses no NPU"):
        rendered(catalog, templates, "smoke", platform=CPU, kind="ascendjob")
    with pytest.raises(UsageError, match="--queue"):
        rendered(catalog, templates, "train-8p", queue="x")


@pytest.mark.parametrize("value", HOSTILE)
def test_what_a_strangers_recipe_says_stays_what_it_says(
    catalog: Catalog, templates: dict[str, str], value: str
) -> None:
    recipe = catalog.models["streampetr"]
    train = next(job for job in recipe.jobs if job.name == "train-8p")
    assert train.launch is not None
    launch = replace(train.launch, command=("x.py", value), success=value, note=value)
    job = replace(train, launch=launch, title=value, command=("bash", "-c", value))
    model = replace(recipe, title=value, jobs=(job, *(each for each in recipe.jobs if each.name != "train-8p")))
    run = cluster_run(model, catalog.platforms[recipe.platform], "stock", choices(recipe, {}), "train-8p", 2)
    place = ClusterSite(name="x", image="a/b:1", annotations={"note": value}, arguments=(value,))
    found = list(yaml.load_all(render_k8s(run, place, "job", templates), Loader))
    assert [each["kind"] for each in found] == ["ConfigMap", "Service", "Job"]
    assert json.loads(found[0]["data"]["jobs.json"])["jobs"]["train-8p"]["command"][3] == value
    container = next(pods(found[-1]))["spec"]["containers"][0]
    assert container["args"][1].replace("$$", "$") == value
    assert container["securityContext"]["privileged"] is False


def test_who_needs_a_conversion_first(catalog: Catalog) -> None:
    def needs(model: str, job: str) -> bool:
        recipe = catalog.models[model]
        return needs_prepared(
            cluster_run(recipe, catalog.platforms[recipe.platform], "stock", choices(recipe, {}), job, 1)
        )

    assert needs("streampetr", "train-8p")
    assert needs("panoocc", "eval")
    assert not needs("streampetr", "prepare-data")
    assert not needs("streampetr", "smoke")
    # Its files are downloaded; no job makes them.
    assert not needs("tpvformer", "train-8p")


def test_the_head_says_what_a_reader_must_know(catalog: Catalog, templates: dict[str, str]) -> None:
    recipe = catalog.models["streampetr"]
    run = cluster_run(recipe, catalog.platforms[recipe.platform], "stock", {}, "train-8p", 2)
    text = render_k8s(run, ClusterSite(name="x", image="a/b:1"), "job", templates)
    head = [line for line in text.split("\n") if line.startswith("#")]
    assert any("A step takes 32 samples, 16 on one node." in line for line in head)
    assert any("drivebuild k8s streampetr prepare-data" in line for line in head)
    assert any("ReadWriteMany" in line for line in head)
    assert any("Not applied to a cluster with NPUs yet." in line for line in head)


# --- YAML -----------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), min_size=1, max_size=3), st.lists(TEXTS))
def test_whatever_a_value_holds_the_text_stays_yaml(documents: list[dict[str, Any]], comments: list[str]) -> None:
    comments = [line for line in comments if line.isprintable()]
    assert list(yaml.safe_load_all(dump_documents(documents, comments))) == documents


@pytest.mark.parametrize(
    "word", ["y", "N", "on", "Off", "yes", "null", "~", "1e3", "0x10", "0o7", "12:30", "1_000", ".5", ""]
)
def test_words_that_some_yaml_takes_for_something_else_stand_in_quotes(word: str) -> None:
    assert dump_documents([{"a": word}]) == f'a: "{word}"\n'


def test_lines_stay_lines() -> None:
    assert dump_documents([{"a": "x\n  y: 1\n"}]) == "a: |\n  x\n    y: 1\n"

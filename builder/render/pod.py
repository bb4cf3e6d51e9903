"""The pod of a job: what compose says of a container, in Kubernetes' words. Pure.

What a pod may and may not: it runs as a user, without privileges, capabilities or a token of the cluster; the dataset
is read-only. The root file system stays writable, because upstream's scripts write beside the model's code. What a host
lends it is the driver, read-only (facts: platform.md sections 4.2, 4.4); the Ascend device plugin brings the devices.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from builder.plan.cluster import FOLDER, MASTER_PORT, ClusterRun
from builder.plan.clustersite import ClusterSite
from builder.plan.jobs import DATA, PREPARED, RUNS, WEIGHTS, job_kind, reads_data

__all__ = ["NPU", "NPU_LABELS", "Kind", "Place", "config_map", "labels", "pod"]

Kind = Literal["job", "volcano", "ascendjob"]
NPU = "huawei.com/Ascend910"
"""The resource of the Ascend device plugin, and the annotation in which Volcano says which NPUs a pod has."""
NPU_LABELS = {"ring-controller.atlas": "ascend-910b"}
"""What Ascend's scheduler and operator look for on jobs and pods of this chip."""
NODE = {"accelerator-type": "module-910b-8"}
"""A server with eight 910B on a board: Atlas 800T A2 and Atlas 900 A2 PoD."""
TABLE = "/opt/drivebuild/jobs.json"
CPU_SHM_GIB = 8
GRACE = 60
"""Seconds between SIGTERM and SIGKILL: drivebuild-job itself kills after half a minute."""
DRIVER = (
    ("driver", "/usr/local/Ascend/driver", "Directory"),
    ("install-info", "/etc/ascend_install.info", "File"),
)
NETWORK = ("hccn", "/etc/hccn.conf", "File")
"""The addresses of the NPUs' own network ports, between servers."""
HCCL = {
    "HCCL_WHITELIST_DISABLE": "1",
    "HCCL_CONNECT_TIMEOUT": "1200",
    "ASCEND_SLOG_PRINT_TO_STDOUT": "0",
    "ASCEND_GLOBAL_LOG_LEVEL": "3",
    "ASCEND_GLOBAL_EVENT_ENABLE": "0",
}
"""What every model's script exports before it starts what a launch starts instead (facts: recipes.md section 5)."""
SCRIPTS = {"torchrun": "k8s/torchrun.sh", "environment": "k8s/environment.sh"}
RENDEZVOUS = "k8s/rendezvous.py"


@dataclass(frozen=True, slots=True)
class Place:
    """Where node 0 is found, which each kind of job says in its own way."""

    address: str
    """A name that all nodes resolve; nothing: the operator says it."""
    port: int = MASTER_PORT
    port_name: str = "rendezvous"
    container: str = "job"
    rank: str = ""
    """The field of the pod that holds the node's number; nothing: a plug-in or the operator brings a variable."""


def labels(run: ClusterRun, site: ClusterSite) -> dict[str, str]:
    """Return what a job and its pods are found by."""
    own = {
        "app.kubernetes.io/name": run.model.name.replace("_", "-")[:63],
        "app.kubernetes.io/component": run.job.name[:63],
        "app.kubernetes.io/instance": site.name,
        "app.kubernetes.io/managed-by": "drivebuild",
    }
    return {**own, **site.labels}


def config_map(run: ClusterRun, site: ClusterSite, templates: Mapping[str, str]) -> dict[str, Any]:
    """Return what the nodes are given beside the image: their table of jobs, and what starts their share."""
    names = ["k8s/node.sh", *([SCRIPTS[run.launch.by]] if run.launch else [])]
    if run.job.command[-1] == f"{FOLDER}/rendezvous.py":
        names.append(RENDEZVOUS)
    files = {name.rpartition("/")[2]: templates[name] + "\n" for name in names}
    table = json.dumps(run.table, indent=1, ensure_ascii=False) + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(site, site.name, labels(run, site)),
        "data": {"jobs.json": table, **files},
    }


def _metadata(site: ClusterSite, name: str, found_by: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, **({"namespace": site.namespace} if site.namespace else {}), "labels": dict(found_by)}


def pod(run: ClusterRun, site: ClusterSite, kind: Kind, place: Place) -> dict[str, Any]:
    """Return the template of the job's pods."""
    npu_labels = NPU_LABELS if run.npus and kind != "job" else {}
    mounts = list(_mounts(run, site))
    container = {
        "name": place.container,
        "image": site.image,
        "imagePullPolicy": "IfNotPresent",
        # The entrypoint is named, so that it is not bypassed: it sets CANN's environment and the allocator.
        "command": ["/opt/drivebuild/entrypoint", *_command(run)],
        "args": [run.job.name, *map(_literal, site.arguments)],
        "env": list(_environment(run, site, kind, place)),
        **({"ports": [{"containerPort": place.port, "name": place.port_name}]} if run.launch else {}),
        **_resources(run, site),
        "securityContext": {
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount for mount, _ in mounts],
    }
    volumes = {volume["name"]: volume for _, volume in mounts}
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "automountServiceAccountToken": False,
        # Variables of other services have names that programs may take for their own.
        "enableServiceLinks": False,
        # An init process for the ranks that launchers leave behind: the pause container reaps them.
        "shareProcessNamespace": True,
        "securityContext": _security(site),
        **({"imagePullSecrets": [{"name": site.pull_secret}]} if site.pull_secret else {}),
        **_placement(run, site),
        # The second, or a pod with its node's network would not find the cluster's names.
        **({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if site.host_network else {}),
        "containers": [container],
        "volumes": list(volumes.values()),
    }
    notes = {"annotations": dict(site.annotations)} if site.annotations else {}
    return {"metadata": {"labels": {**labels(run, site), **npu_labels}, **notes}, "spec": spec}


def _command(run: ClusterRun) -> list[str]:
    return ["bash", f"{FOLDER}/node.sh"] if run.launch else ["drivebuild-job"]


def _literal(text: str) -> str:
    """Return a text that Kubernetes, which replaces $(NAME), hands on as it is."""
    return text.replace("$", "$$")


def _security(site: ClusterSite) -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": site.uid,
        "runAsGroup": site.gid,
        # The model's folder belongs to this group, and so do the NPUs' devices (HwHiAiUser).
        "supplementalGroups": [1000],
        "fsGroup": site.gid,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _resources(run: ClusterRun, site: ClusterSite) -> dict[str, Any]:
    npus = {NPU: run.npus} if run.npus else {}
    # Memory is no matter of luck: what is asked for is what there is. Processor time is shared when it is there.
    memory = {"memory": site.memory} if site.memory else {}
    cpu = {"cpu": site.cpu} if site.cpu else {}
    if not (npus or memory or cpu):
        return {}
    limits = {**npus, **memory}
    return {"resources": {**({"limits": limits} if limits else {}), "requests": {**npus, **cpu, **memory}}}


def _placement(run: ClusterRun, site: ClusterSite) -> dict[str, Any]:
    wanted = {**(NODE if run.npus else {}), **site.node_labels}
    nodes = {key: value for key, value in wanted.items() if value}
    found: dict[str, Any] = {"nodeSelector": nodes} if nodes else {}
    if run.nodes > 1:
        term = {
            "labelSelector": {"matchLabels": {"app.kubernetes.io/instance": site.name}},
            "topologyKey": "kubernetes.io/hostname",
        }
        # Where there are no NPUs the nodes may be one laptop's.
        apart: dict[str, Any] = (
            {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
            if run.npus
            else {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
        )
        found["affinity"] = {"podAntiAffinity": apart}
    return found


def _environment(run: ClusterRun, site: ClusterSite, kind: Kind, place: Place) -> Iterator[dict[str, Any]]:
    yield {"name": "DRIVEBUILD_HOME", "value": _home(run)}
    yield {"name": "DRIVEBUILD_IMAGE", "value": site.image}
    if run.npus:
        yield _field("HCCL_IF_IP", "status.podIP")
    if run.npus and kind != "job":
        yield _field("XDL_IP", "status.hostIP")
        yield _field("ASCEND_VISIBLE_DEVICES", f"metadata.annotations['{NPU}']")
    if run.launch is None:
        return
    if run.npus:
        yield from ({"name": name, "value": value} for name, value in HCCL.items())
    yield {"name": "NNODES", "value": str(run.nodes)}
    yield {"name": "NPROC_PER_NODE", "value": str(run.processes)}
    if place.rank:
        yield _field("NODE_RANK", place.rank)
    if place.address:
        yield {"name": "MASTER_ADDR", "value": place.address}
        yield {"name": "MASTER_PORT", "value": str(place.port)}
    # Nobody looks at a cluster's job: one that hangs gives its NPUs back.
    yield {"name": "DRIVEBUILD_HANG_MINUTES", "value": str(2 * run.job.quiet_minutes)}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _home(run: ClusterRun) -> str:
    return f"/workspace/{run.model.name}/.home"


def _mounts(run: ClusterRun, site: ClusterSite) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield every mount of the container with the volume that it is of."""
    job, what = run.job, job_kind(run.job)
    output = _claim("output", site.output_claim, read_only=False)
    if reads_data(job):
        yield _mount("dataset", DATA, read_only=True), _claim("dataset", site.dataset_claim, read_only=True)
        folder = f"prepared/{run.model.name}"
        yield _mount("output", PREPARED, folder=folder, read_only=what != "prepare"), output
    if run.model.weights and what in ("train", "eval"):
        yield _mount("output", WEIGHTS, folder="weights", read_only=True), output
    if job.outputs or reads_data(job):
        yield _mount("output", RUNS, folder="runs"), output
    else:
        yield _mount("runs", RUNS), {"name": "runs", "emptyDir": {}}
    yield _mount("home", _home(run)), {"name": "home", "emptyDir": {}}
    size = job.shm_gib if run.npus else min(job.shm_gib, CPU_SHM_GIB)
    yield _mount("shm", "/dev/shm"), {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{size}Gi"}}
    if run.launch:
        given = {"name": "drivebuild", "configMap": {"name": site.name}}
        yield _mount("drivebuild", FOLDER, read_only=True), given
        yield _mount("drivebuild", TABLE, folder="jobs.json", read_only=True), given
    if run.npus:
        for name, path, sort in (*DRIVER, *((NETWORK,) if run.nodes > 1 else ())):
            yield _mount(name, path, read_only=True), {"name": name, "hostPath": {"path": path, "type": sort}}


def _mount(name: str, path: str, *, folder: str = "", read_only: bool = False) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": name, "mountPath": path}
    if folder:
        mount["subPath"] = folder
    return mount | ({"readOnly": True} if read_only else {})


def _claim(name: str, claim: str, *, read_only: bool) -> dict[str, Any]:
    source: dict[str, Any] = {"claimName": claim, **({"readOnly": True} if read_only else {})}
    return {"name": name, "persistentVolumeClaim": source}

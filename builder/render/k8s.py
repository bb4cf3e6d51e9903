"""Jobs to manifests of Kubernetes: a Job of its own, of Volcano, or of Ascend's operator. Pure.

A job over several nodes is one thing: it starts when all its pods can, and ends when one of them fails, because no
launcher of these models takes a lost node back. So nothing is retried here; what can go on from a checkpoint is started
anew.

Fields: kubernetes.io/docs/reference/kubernetes-api (batch/v1, v1); of github.com/volcano-sh/volcano
config/crd/volcano/bases/batch.volcano.sh_jobs.yaml; of github.com/Ascend/mind-cluster
component/ascend-operator/build/ascend-operator.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from builder.errors import UsageError
from builder.plan.cluster import MASTER_PORT, ClusterRun
from builder.plan.clustersite import ClusterSite
from builder.plan.jobs import job_entry
from builder.render.pod import NPU_LABELS, Kind, Place, config_map, labels, pod
from builder.render.yamltext import dump_documents

__all__ = ["KINDS", "check_kind", "manifests", "needs_prepared", "render_k8s"]

KINDS: tuple[Kind, ...] = ("job", "volcano", "ascendjob")
KEPT = 7 * 24 * 3600
"""Seconds that an ended job and its pods' logs stay to be looked at."""
TASK = "node"
QUEUE = "default"
"""Volcano makes it when it is installed; a Job of Volcano without a queue is in it."""
ASCEND_PORT = 2222
"""The operator's own default; it hands it to the pods as MASTER_PORT."""
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def needs_prepared(run: ClusterRun) -> bool:
    """Return whether the job reads what the model's job `prepare-data` writes."""
    made = any(entry["generated"] for entry in job_entry(run.model, run.job)["data"])
    return made and any(job.name == "prepare-data" for job in run.model.jobs)


def check_kind(run: ClusterRun, site: ClusterSite, kind: Kind) -> None:
    """Refuse what a kind of job cannot be.

    Raises:
        UsageError: with the kind that can.
    """
    if kind == "ascendjob" and not run.npus:
        message = f"--kind ascendjob: {run.model.name} {run.job.name} on {run.platform.name} uses no NPU"
        raise UsageError(message, hint="its operator counts NPUs; --kind job and --kind volcano do without")
    if kind == "job" and site.queue:
        hint = "--kind volcano has queues; Kueue's is --label kueue.x-k8s.io/queue-name=NAME"
        raise UsageError("--queue: a Job of Kubernetes has none", hint=hint)


def render_k8s(run: ClusterRun, site: ClusterSite, kind: Kind, templates: Mapping[str, str]) -> str:
    """Return the manifests of a run as one YAML text."""
    return dump_documents(manifests(run, site, kind, templates), _comments(run, site, kind))


def manifests(
    run: ClusterRun, site: ClusterSite, kind: Kind, templates: Mapping[str, str]
) -> tuple[dict[str, Any], ...]:
    """Return the documents of a run, in the order in which they are applied."""
    before = [config_map(run, site, templates)] if run.launch else []
    if kind == "job" and run.launch:
        before.append(_service(run, site))
    made = {"job": _job, "volcano": _volcano, "ascendjob": _ascend}[kind](run, site)
    return (*before, made)


def _comments(run: ClusterRun, site: ClusterSite, kind: Kind) -> Iterator[str]:
    job, name = run.job, run.model.name
    words = (
        f"{name} {job.name} --nodes {run.nodes} --kind {kind} --platform {run.platform.name} --variant {run.variant}"
    )
    yield f"NOTE: RENDERED BY drivebuild: drivebuild k8s {words}"
    yield ""
    yield f"{run.model.title}: {job.title}"
    if run.launch and run.nodes > 1:
        yield f"On {run.nodes} nodes, {run.processes} processes each, in place of: {' '.join(job.command)}"
        if run.batch:
            yield f"A step takes {run.batch} samples, {run.batch // run.nodes} on one node."
        if run.launch.note:
            yield run.launch.note
    if needs_prepared(run):
        yield f"It reads what this writes, so let it end first: drivebuild k8s {name} prepare-data"
    if job.outputs:
        yield (
            f"Claim {site.output_claim}: its folders runs, weights and prepared/{name} must be writable for user "
            f"{site.uid}" + (", from all nodes at once (ReadWriteMany)." if run.nodes > 1 else ".")
        )
    if run.npus:
        yield (
            "The driver is a hostPath, which the namespace's Pod Security level must allow (privileged). "
            "Not applied to a cluster with NPUs yet."
        )
    if kind == "job" and run.npus and run.nodes > 1:
        yield "A Job's pods are not scheduled together: those that come first wait with their NPUs. Volcano's are."


def _metadata(run: ClusterRun, site: ClusterSite, *, npu_labels: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {"name": site.name}
    if site.namespace:
        found["namespace"] = site.namespace
    found["labels"] = {**labels(run, site), **(NPU_LABELS if npu_labels and run.npus else {})}
    if site.annotations:
        found["annotations"] = dict(site.annotations)
    return found


def _service(run: ClusterRun, site: ClusterSite) -> dict[str, Any]:
    """Return what gives the pods names; they meet before they are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(run, site),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app.kubernetes.io/instance": site.name},
            "ports": [{"name": "rendezvous", "port": MASTER_PORT}],
        },
    }


def _job(run: ClusterRun, site: ClusterSite) -> dict[str, Any]:
    place = Place(f"{site.name}-0.{site.name}", rank=INDEX)
    template = pod(run, site, "job", place)
    spec: dict[str, Any] = {"backoffLimit": 0, "ttlSecondsAfterFinished": KEPT}
    if run.launch:
        spec |= {"completionMode": "Indexed", "completions": run.nodes, "parallelism": run.nodes}
        # With it the pods are found as NAME-0.NAME and so on.
        template["spec"] = {"subdomain": site.name, **template["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(run, site),
        "spec": {**spec, "template": template},
    }


def _volcano(run: ClusterRun, site: ClusterSite) -> dict[str, Any]:
    place = Place(f"{site.name}-{TASK}-0.{site.name}")
    # `svc` gives the pods names, `env` tells each its number. Its network policy would close the pods to all others.
    plugins = {"svc": ["--publish-not-ready-addresses=true", "--disable-network-policy=true"], "env": []}
    return {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": _metadata(run, site, npu_labels=True),
        "spec": {
            "schedulerName": "volcano",
            "minAvailable": run.nodes,
            **({"queue": site.queue} if site.queue else {}),
            "ttlSecondsAfterFinished": KEPT,
            **({"plugins": plugins} if run.launch else {}),
            "policies": [
                {"events": ["PodFailed", "PodEvicted"], "action": "TerminateJob"},
                {"event": "TaskCompleted", "action": "CompleteJob"},
            ],
            "tasks": [{"name": TASK, "replicas": run.nodes, "template": pod(run, site, "volcano", place)}],
        },
    }


def _ascend(run: ClusterRun, site: ClusterSite) -> dict[str, Any]:
    # The operator looks for a container and a port of these names; it says who node 0 is, and each pod's number.
    place = Place("", port=ASCEND_PORT, port_name="ascendjob-port", container="ascend")
    template = pod(run, site, "ascendjob", place)

    def replicas(count: int) -> dict[str, Any]:
        return {"replicas": count, "restartPolicy": "Never", "template": template}

    metadata = _metadata(run, site, npu_labels=True)
    metadata["labels"] = {**metadata["labels"], "framework": "pytorch"}
    return {
        "apiVersion": "mindxdl.gitee.com/v1",
        "kind": "AscendJob",
        "metadata": metadata,
        "spec": {
            "schedulerName": "volcano",
            "runPolicy": {
                # A failed pod ends the job: the operator retries only what is labelled so. It has no default queue.
                "cleanPodPolicy": "Running",
                "ttlSecondsAfterFinished": KEPT,
                "schedulingPolicy": {"minAvailable": run.nodes, "queue": site.queue or QUEUE},
            },
            "successPolicy": "AllWorkers",
            "replicaSpecs": {"Master": replicas(1), **({"Worker": replicas(run.nodes - 1)} if run.nodes > 1 else {})},
        },
    }

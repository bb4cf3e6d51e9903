"""What a cluster runs: one job on some nodes, and the table of jobs that its nodes read. Pure.

On one node a cluster runs what compose runs. On several, the recipe's `launch` takes the place of the job's command,
which starts what one node has; the table in the image knows nothing of it, so the nodes are given another. Only node 0
prints what proves a training, so the others have a job of their own in it, that is done when its command ends well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.errors import PlanError, UsageError
from builder.plan.jobs import find_job, job_entry, job_kind, job_table, offered
from builder.recipe.types import Job, Launch, Model, Platform

__all__ = ["FOLDER", "FOLLOWER", "MASTER_PORT", "RENDEZVOUS", "ClusterRun", "cluster_run", "launchable"]

FOLDER = "/opt/drivebuild/k8s"
"""Where a node finds the scripts that it is given."""
FOLLOWER = "-node"
"""What the job of the nodes beyond the first ends in."""
MASTER_PORT = 29500
MOST_NODES = 1024
QUIET_MINUTES = 1440
"""A node that only computes prints nothing, however long it takes."""

RENDEZVOUS = Job(
    name="rendezvous",
    title="Let all processes of all nodes meet, add up numbers and measure how fast; nothing is trained",
    command=("python", f"{FOLDER}/rendezvous.py"),
    npus=8,
    shm_gib=1,
    success=r"rendezvous ok: (\d+) processes",
    quiet_minutes=10,
    launch=Launch(command=(f"{FOLDER}/rendezvous.py",)),
)
"""A job that every model has: it tries the cluster, the manifest and the image before a training does."""
CPU_PROCESSES = 2
"""Processes of a rendezvous where there are no NPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRun:
    """A job on some nodes."""

    model: Model
    platform: Platform
    variant: str
    job: Job
    nodes: int
    npus: int
    """Of each node."""
    processes: int
    """That the launcher starts on each node; 0 where nothing is launched but the job's own command."""
    launch: Launch | None
    """None: the job's own command."""
    table: Mapping[str, Any] | None
    """What takes the place of the image's table of jobs; None: nothing does."""
    batch: int
    """Samples of a step over all nodes; 0: it does not train, or that is not known."""


def launchable(model: Model, platform: Platform, choice: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the jobs that can run on several nodes."""
    return (*(job.name for job in offered(model, platform, dict(choice)) if job.launch), RENDEZVOUS.name)


def cluster_run(
    model: Model, platform: Platform, variant: str, choice: Mapping[str, str], name: str, nodes: int
) -> ClusterRun:
    """Return a job of a model on some nodes.

    Raises:
        UsageError: for a job that the model does not have there, or a number of nodes that cannot be.
        PlanError: when the job cannot run on several nodes, with the recipe's reason, or on a platform that stands in
            for one with NPUs.
    """
    job = find_job(model, platform, dict(choice), name, also=(RENDEZVOUS,))
    if not 1 <= nodes <= MOST_NODES:
        raise UsageError(f"--nodes {nodes}: expected a number from 1 to {MOST_NODES}")
    if job_kind(job) == "shell":
        raise UsageError(
            f"{model.name} {name} wants a terminal, and a cluster's job has none",
            hint="kubectl exec -it POD -- /opt/drivebuild/entrypoint bash opens one in a running pod",
        )
    if platform.twin and job.npus:
        message = f"{model.name} {name} cannot run on {platform.name}: its CANN is a link-only stand-in"
        raise PlanError(message, hint=f"--platform {platform.twin}, or the model's own")
    launch = job.launch if nodes > 1 or job.name == RENDEZVOUS.name else None
    if nodes > 1 and launch is None:
        able = ", ".join(launchable(model, platform, choice))
        raise PlanError(
            f"{model.name} {name} cannot run on {nodes} nodes: {_why(job)}",
            hint=f"--nodes 1 runs it; on several nodes: {able}",
        )
    npus = job.npus if platform.accelerator == "npu" else 0
    return ClusterRun(
        model=model,
        platform=platform,
        variant=variant,
        job=job,
        nodes=nodes,
        npus=npus,
        processes=(launch.processes or npus or CPU_PROCESSES) if launch else 0,
        launch=launch,
        table=_table(model, platform, variant, choice, job, launch, nodes) if launch else None,
        batch=job.batch * max(npus, 1) * nodes,
    )


def _why(job: Job) -> str:
    if job.single_node:
        return job.single_node
    reasons = {"prepare": "one process converts the dataset", "smoke": "it only imports the stack"}
    return reasons.get(job_kind(job), "its recipe does not say how it is launched there (`launch`)")


def _table(
    model: Model,
    platform: Platform,
    variant: str,
    choice: Mapping[str, str],
    job: Job,
    launch: Launch,
    nodes: int,
) -> dict[str, Any]:
    """Return the table of jobs with the launch in the place of the job's command."""
    table = job_table(model, platform, variant, dict(choice))
    script = f"{FOLDER}/{launch.by}.sh"
    first = job_entry(model, job) | {"command": ["bash", script, *_command(launch, nodes)], "log": ""}
    if launch.success:
        first["success"] = launch.success
    other = first | {"title": f"{job.title}, beside node 0", "success": "", "quiet_minutes": QUIET_MINUTES}
    # The other jobs stay: where the outputs of all of them lead is read from here.
    jobs = table["jobs"] | {job.name: first, f"{job.name}{FOLLOWER}": other}
    return table | {"jobs": dict(sorted(jobs.items()))}


def _command(launch: Launch, nodes: int) -> list[str]:
    """Return the launch's command; steps are fewer where each takes the samples of more nodes."""
    command = list(launch.command)
    if launch.divided:
        # A second --cfg-options would take the place of the first.
        command += [] if "--cfg-options" in command else ["--cfg-options"]
        command += [f"{key}={max(steps // nodes, 1)}" for key, steps in launch.divided.items()]
    return command

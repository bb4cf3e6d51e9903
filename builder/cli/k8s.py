"""`k8s`: a job of a model as manifests of Kubernetes, on one node or several."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import Lto, ModelName, Options, Pgo, Platform, Variant, parse_options, variant_of
from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.plan.cluster import ClusterRun
    from builder.plan.clustersite import ClusterSite
    from builder.plan.stage import Plan

PREPARE = "prepare-data"


class Kind(StrEnum):
    """What schedules the pods; builder/render/k8s.py renders each."""

    JOB = "job"
    VOLCANO = "volcano"
    ASCENDJOB = "ascendjob"


Job = Annotated[
    str, typer.Argument(metavar="JOB", help="One of the model's jobs, or `rendezvous`, which tries out the cluster.")
]
Arguments = Annotated[list[str] | None, typer.Argument(metavar="[-- ARGUMENT...]", help="Added to the job's command.")]
Nodes = Annotated[int, typer.Option("--nodes", "-n", metavar="N", help="On how many nodes it runs.")]
KindOption = Annotated[
    Kind, typer.Option("--kind", help="A Job of Kubernetes, of Volcano, or an AscendJob of MindCluster.")
]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="DIR|-", help="Write files there, in order; `-` prints the job's.")
]
Image = Annotated[
    str, typer.Option("--image", metavar="REF", help="Where the nodes pull it, with its tag or, better, digest.")
]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Of the job; MODEL-JOB by default.")]
Namespace = Annotated[str, typer.Option("--namespace", metavar="NS", help="The caller's own by default.")]
DatasetClaim = Annotated[str, typer.Option("--dataset-claim", metavar="CLAIM", help="Holds nuScenes; it is only read.")]
OutputClaim = Annotated[
    str, typer.Option("--output-claim", metavar="CLAIM", help="Holds the folders runs, weights, prepared/MODEL.")
]
PullSecret = Annotated[
    str, typer.Option("--pull-secret", metavar="NAME", help="A secret with the registry's credentials.")
]
Queue = Annotated[str, typer.Option("--queue", metavar="NAME", help="A queue of Volcano.")]
User = Annotated[str, typer.Option("--user", metavar="UID:GID", help="Whom the files in the output claim belong to.")]
HostNetwork = Annotated[
    bool, typer.Option("--host-network", help="Pods have their node's network, where HCCL cannot cross the pods'.")
]
Cpu = Annotated[str, typer.Option("--cpu", metavar="N", help="Processors that each pod asks for.")]
Memory = Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory of each pod, such as 512Gi.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label of the job and its pods.")
]
Annotations = Annotated[
    list[str] | None, typer.Option("--annotation", metavar="KEY=VALUE", help="An annotation of the job and its pods.")
]
NodeLabels = Annotated[
    list[str] | None,
    typer.Option("--node-label", metavar="KEY=VALUE", help="What a node must have; KEY= takes a default away."),
]


@app.command()
def k8s(
    context: typer.Context,
    model: ModelName,
    job: Job,
    arguments: Arguments = None,
    nodes: Nodes = 1,
    kind: KindOption = Kind.JOB,
    output: Output = "-",
    platform: Platform = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    option: Options = None,
    image: Image = "",
    name: Name = "",
    namespace: Namespace = "",
    dataset_claim: DatasetClaim = "nuscenes",
    output_claim: OutputClaim = "drivebuild",
    pull_secret: PullSecret = "",
    queue: Queue = "",
    user: User = "1000:1000",
    host_network: HostNetwork = False,
    cpu: Cpu = "",
    memory: Memory = "",
    label: Labels = None,
    annotation: Annotations = None,
    node_label: NodeLabels = None,
) -> None:
    """Print manifests that run a job on a cluster, from the same recipe as compose files and `drivebuild run`.

    Nothing is sent anywhere: `drivebuild k8s ... | kubectl apply -f -` does. A job that cannot run on several nodes is
    refused, with the reason. With --output DIR the conversion of the dataset comes first, where the job needs it.
    """
    from builder.plan.cluster import cluster_run
    from builder.plan.clustersite import ClusterSite, checked, pairs, plain_name

    settings: Settings = context.obj
    chosen = variant_of(variant, lto=lto, pgo=pgo)
    plan = settings.plan(model, platform=platform, variant=chosen, options=parse_options(option))
    run = cluster_run(plan.model, plan.platform, plan.variant, dict(plan.options), job, nodes)
    uid, gid = _user(user)
    site = ClusterSite(
        name=name or plain_name(f"{model}-{job}"),
        image=image or plan.tag,
        namespace=namespace,
        dataset_claim=dataset_claim,
        output_claim=output_claim,
        pull_secret=pull_secret,
        queue=queue,
        uid=uid,
        gid=gid,
        host_network=host_network,
        cpu=cpu,
        memory=memory,
        labels=pairs("--label", label or ()),
        annotations=pairs("--annotation", annotation or ()),
        node_labels=pairs("--node-label", node_label or ()),
        arguments=_fitting(run, tuple(arguments or ())),
    )
    _hand_out(plan, run, checked(site), kind, output)


def _hand_out(plan: Plan, run: ClusterRun, site: ClusterSite, kind: Kind, output: str) -> None:
    from builder.render.k8s import check_kind, needs_prepared, render_k8s
    from builder.source.catalog import read_templates

    check_kind(run, site, kind.value)
    templates = read_templates()
    text = render_k8s(run, site, kind.value, templates)
    if output == "-":
        typer.echo(text, nl=False)
        return
    from builder.source.tree import write_text

    folder = Path(output)
    steps = []
    if needs_prepared(run):
        first = _prepare_site(site)
        before = _prepare_run(plan)
        path = folder / f"10-{PREPARE}.yaml"
        write_text(path, render_k8s(before, first, "job", templates))
        steps.append(_apply(path))
        words = ["kubectl", "wait", *_namespace(site), "--for=condition=complete", "--timeout=24h", f"job/{first.name}"]
        steps.append(shlex.join(words))
    path = folder / f"20-{run.job.name}.yaml"
    write_text(path, text)
    steps.append(_apply(path))
    typer.echo("\n".join(steps))


def _prepare_run(plan: Plan) -> ClusterRun:
    from builder.plan.cluster import cluster_run

    return cluster_run(plan.model, plan.platform, plan.variant, dict(plan.options), PREPARE, 1)


def _prepare_site(site: ClusterSite) -> ClusterSite:
    """Return the same place for the conversion: a Job without queue, arguments and what NPUs are chosen by."""
    from dataclasses import replace

    from builder.plan.clustersite import LONGEST_NAME

    name = f"{site.name[: LONGEST_NAME - len(PREPARE) - 1].rstrip('-')}-{PREPARE}"
    return replace(site, name=name, queue="", arguments=(), node_labels={}, host_network=False)


def _apply(path: Path) -> str:
    return shlex.join(("kubectl", "apply", "-f", str(path)))


def _namespace(site: ClusterSite) -> list[str]:
    return ["--namespace", site.namespace] if site.namespace else []


def _user(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,9})(?::([0-9]{1,9}))?", text)
    if found is None:
        raise UsageError(f"--user {text!r}: expected UID or UID:GID, in numbers")
    uid, gid = int(found[1]), int(found[2] or found[1])
    if uid == 0:
        raise UsageError(f"--user {text}: jobs do not run as root", hint="the output claim's folders belong to a user")
    return uid, gid


def _fitting(run: ClusterRun, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments, unless the job's command has no place for them: a node would refuse them later."""
    command = run.launch.command if run.launch else run.job.command
    if arguments and command[:2] == ("bash", "-c") and '"$@"' not in command[2]:
        raise UsageError(f"{run.model.name} {run.job.name} takes no arguments")
    return arguments

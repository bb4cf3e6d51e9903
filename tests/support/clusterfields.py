"""Fields of the two kinds of job that Kubernetes itself does not know, as far as manifests here use them.

Written down from their definitions, not copied: tests/docker/test_k8s_definitions.py holds the list against the
definitions themselves, where a mirror of the repositories is at hand.

Volcano: config/crd/volcano/bases/batch.volcano.sh_jobs.yaml of github.com/volcano-sh/volcano (ed72c7c8).
AscendJob: component/ascend-operator/build/ascend-operator.yaml of github.com/Ascend/mind-cluster (22bb3d98); the names
of container and port: docs/en/scheduling/api/ascend_job.md there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TEMPLATE = "template"
"""A pod's: Kubernetes' own schema holds it."""
FREE = "free"
"""A mapping of the author's own keys."""

VOLCANO: Mapping[str, Any] = {
    "schedulerName": "string",
    "minAvailable": "integer",
    "queue": "string",
    "ttlSecondsAfterFinished": "integer",
    "plugins": FREE,
    "policies": [{"event": "string", "events": ["string"], "action": "string"}],
    "tasks": [{"name": "string", "replicas": "integer", "template": TEMPLATE}],
}
VOLCANO_EVENTS = {"PodFailed", "PodEvicted", "TaskCompleted"}
ASCENDJOB: Mapping[str, Any] = {
    "schedulerName": "string",
    "successPolicy": "string",
    "runPolicy": {
        "cleanPodPolicy": "string",
        "ttlSecondsAfterFinished": "integer",
        "schedulingPolicy": {"minAvailable": "integer", "queue": "string"},
    },
    "replicaSpecs": {"*": {"replicas": "integer", "restartPolicy": "string", "template": TEMPLATE}},
}
TYPES = {"string": str, "integer": int}


def strangers(value: Any, known: Any, path: str = "spec") -> Iterator[str]:
    """Yield the fields of a value that are not known, or not of the known type."""
    if known in (TEMPLATE, FREE):
        if not isinstance(value, dict):
            yield path
    elif isinstance(known, str):
        if type(value) is not TYPES[known]:
            yield path
    elif isinstance(known, list):
        for number, each in enumerate(value):
            yield from strangers(each, known[0], f"{path}[{number}]")
    else:
        for key, each in value.items():
            if key not in known and "*" not in known:
                yield f"{path}.{key}"
            else:
                yield from strangers(each, known.get(key, known.get("*")), f"{path}.{key}")

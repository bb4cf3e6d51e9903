"""What a run is called and where it lies in a cluster, every text held against what Kubernetes takes. Pure.

Rules: kubernetes.io/docs/concepts/overview/working-with-objects/names (names), .../labels (labels),
.../reference/kubernetes-api/common-definitions/quantity (sizes).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from builder.errors import UsageError
from builder.plan.imagename import IMAGE_NAME

__all__ = ["LONGEST_NAME", "ClusterSite", "checked", "pairs", "plain_name"]

LONGEST_NAME = 48
"""Of a job: pods, services and labels are named after it, with up to 15 characters more, and have at most 63."""

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*"
_WORD = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_QUANTITY = re.compile(r"(?!0+(\.0+)?[A-Za-z]*\Z)[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSite:
    """One run's place in a cluster; all of it is the caller's."""

    name: str
    image: str
    namespace: str = ""
    dataset_claim: str = "nuscenes"
    output_claim: str = "drivebuild"
    pull_secret: str = ""
    queue: str = ""
    uid: int = 1000
    gid: int = 1000
    cpu: str = ""
    memory: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    """Whether pods have their node's own network, for clusters whose pods' network HCCL cannot cross."""
    node_labels: Mapping[str, str] = field(default_factory=dict)
    """What the nodes must have; a key without value takes away what would be asked for."""
    arguments: tuple[str, ...] = ()


def plain_name(text: str) -> str:
    """Return a text as the name of a job: `cann-8.1.rc1` is none, because of its dots."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:LONGEST_NAME].rstrip("-")


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping.

    Raises:
        UsageError: for one without '=', or whose key is no key of a label.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} {text!r}: expected KEY=VALUE")
        prefix, slash, name = key.rpartition("/")
        if not re.fullmatch(_WORD, name) or (slash and not re.fullmatch(_SUBDOMAIN, prefix)):
            hint = "a key is [domain/]name, such as tor-affinity or kueue.x-k8s.io/queue-name"
            raise UsageError(f"{option} {text!r}: {key!r} is no key of Kubernetes", hint=hint)
        found[key] = value
    return found


def checked(site: ClusterSite) -> ClusterSite:
    """Return the place, if a cluster would take it.

    Raises:
        UsageError: with the first thing that it would refuse.
    """
    wrong = next((option for option, good in _checks(site) if not good), None)
    if wrong is not None:
        option, value, expected = wrong
        raise UsageError(f"{option} {value!r}: expected {expected}")
    _check_image(site.image)
    return site


_NAME = "letters, digits and '-', a letter first, no '-' at the end"
_CLAIM = "a name of Kubernetes: lower-case letters, digits, '-' and '.', and a letter or digit at both ends"


def _checks(site: ClusterSite) -> Iterable[tuple[tuple[str, str, str], bool]]:
    # A Service is named after the job, and must begin with a letter.
    name = rf"(?=[a-z]){_LABEL}"
    good = len(site.name) <= LONGEST_NAME and bool(re.fullmatch(name, site.name))
    yield ("--name", site.name, f"at most {LONGEST_NAME} lower-case {_NAME}"), good
    yield ("--namespace", site.namespace, f"lower-case {_NAME}"), not site.namespace or _is(_LABEL, site.namespace)
    yield ("--dataset-claim", site.dataset_claim, _CLAIM), _is(_SUBDOMAIN, site.dataset_claim)
    yield ("--output-claim", site.output_claim, _CLAIM), _is(_SUBDOMAIN, site.output_claim)
    yield ("--pull-secret", site.pull_secret, _CLAIM), not site.pull_secret or _is(_SUBDOMAIN, site.pull_secret)
    yield ("--queue", site.queue, _CLAIM), not site.queue or _is(_SUBDOMAIN, site.queue)
    yield ("--cpu", site.cpu, "a number of processors, such as 64 or 500m"), not site.cpu or _size(site.cpu)
    yield ("--memory", site.memory, "a size such as 512Gi"), not site.memory or _size(site.memory)
    for option, labels in (("--label", site.labels), ("--node-label", site.node_labels)):
        for key, value in labels.items():
            shown = (option, f"{key}={value}", "a value of at most 63 letters, digits, '-', '_' and '.'")
            yield shown, not value or _is(_WORD, value)
    for key, value in site.annotations.items():
        yield ("--annotation", f"{key}={value}", "one line of text"), value.isprintable()
    for argument in site.arguments:
        yield ("argument", argument, "text that is UTF-8"), not re.search("[\ud800-\udfff]", argument)


def _is(pattern: str, text: str) -> bool:
    return bool(re.fullmatch(pattern, text))


def _size(text: str) -> bool:
    return bool(_QUANTITY.match(text))


def _check_image(image: str) -> None:
    found = IMAGE_NAME.match(image)
    if found is None:
        hint = "such as registry.example.org/team/streampetr:1 or NAME@sha256:DIGEST"
        raise UsageError(f"--image {image!r} is no reference of an image", hint=hint)
    if not found["tag"] and not found["digest"]:
        hint = f"--image {image}:TAG, or better {image}@sha256:DIGEST"
        raise UsageError(f"--image {image!r} has neither tag nor digest: what runs would change by itself", hint=hint)

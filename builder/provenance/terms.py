"""What an image must not have, as a caller says it, and the terms of data that a package is only good for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from builder.provenance.inventory import Inventory, Package
from builder.provenance.licences import CLASSES
from builder.provenance.vulnerable import SEVERITIES, Finding

__all__ = ["DATA_TERMS", "RULES", "Notice", "broken", "data_notices"]

DATA_TERMS: Mapping[str, tuple[str, str]] = {
    "nuscenes-devkit": ("nuScenes", "CC-BY-NC-SA-4.0 and nuScenes' own terms of use"),
    "lyft-dataset-sdk": ("Lyft Level 5", "CC-BY-NC-SA-4.0"),
}
"""By distribution: the dataset that it reads, and the terms of that. The data is in no image; whoever trains with it is
bound by them (https://www.nuscenes.org/terms-of-use)."""
DATA, VULNERABILITY = "data-terms", "vulnerability"
RULES = (*CLASSES, DATA, VULNERABILITY, *SEVERITIES)
"""What `--fail-on` takes. A severity stands for it and all that is worse."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that something in the image reads."""

    package: str
    dataset: str
    terms: str


def data_notices(inventory: Inventory) -> tuple[Notice, ...]:
    """Return the datasets that packages of the image are for, each once."""
    names = sorted({package.name for package in inventory.packages if package.kind in ("python", "wheel")})
    return tuple(
        Notice(package=name, dataset=DATA_TERMS[name][0], terms=DATA_TERMS[name][1])
        for name in names
        if name in DATA_TERMS
    )


def broken(
    rules: Iterable[str],
    packages: Sequence[Package],
    notices: Sequence[Notice],
    findings: Sequence[Finding],
    allowed: Iterable[str],
) -> tuple[str, ...]:
    """Return a line for each thing that a rule forbids, by rule, as they were named; the distribution's packages last.

    Args:
        rules: of RULES.
        packages: those that are looked at.
        notices: datasets.
        findings: known vulnerabilities, of whatever package.
        allowed: names of packages and ids of vulnerabilities that are accepted.
    """
    passed = frozenset(allowed)
    keys = {package.key for package in packages}
    lines: dict[str, None] = {}
    for rule in rules:
        for package in sorted(packages, key=_of_distribution) if rule in CLASSES else ():
            if rule in package.classes and package.name not in passed:
                said = package.expression or "; ".join(package.licences) or "says nothing"
                lines[f"{rule}: {package.kind} {package.name} {package.version}: {said}"] = None
        for notice in notices if rule == DATA else ():
            if notice.package not in passed:
                lines[f"{rule}: {notice.package} reads {notice.dataset}: {notice.terms}"] = None
        for finding in findings:
            known = passed & {finding.id, finding.name, *finding.aliases}
            if finding.key in keys and not known and _reaches(finding, rule):
                lines[f"{rule}: {finding.id}: {finding.kind} {finding.name} {finding.version}"] = None
    return tuple(lines)


def _of_distribution(package: Package) -> bool:
    return package.kind in ("deb", "rpm")


def _reaches(finding: Finding, rule: str) -> bool:
    if rule == VULNERABILITY:
        return True
    return rule in SEVERITIES and finding.severity in SEVERITIES[: SEVERITIES.index(rule) + 1]

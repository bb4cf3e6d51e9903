"""An inventory as CycloneDX 1.6, through its library. The same image gives the same bytes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from builder import __version__
from builder.provenance.document import created_of, depends, name_of, serial_of
from builder.provenance.inventory import Inventory, Package
from builder.provenance.manifest import Change
from builder.provenance.purl import purl_of
from builder.provenance.vulnerable import Finding

__all__ = ["to_cyclonedx"]

IMAGE = "image"
"""Reference of the image itself."""
PREFIX = "drivebuild:"
_SEVERITIES = ("critical", "high", "medium", "low")


def to_cyclonedx(inventory: Inventory, findings: Sequence[Finding] | None = None) -> str:
    """Return the text of a CycloneDX document; `findings` are known vulnerabilities, None where nobody looked."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.bom_ref import BomRef
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.dependency import Dependency
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6

    snapshot = inventory.snapshot
    tool = Component(name="drivebuild", version=__version__, type=ComponentType.APPLICATION, bom_ref="tool")
    root = Component(
        name=name_of(inventory),
        version=snapshot.id,
        type=ComponentType.CONTAINER,
        bom_ref=IMAGE,
        properties=_properties(_of_image(inventory)),
    )
    graph = depends(inventory)
    refs = {key: BomRef(key) for key in graph}
    edges = [Dependency(refs[key], [Dependency(refs[each]) for each in needed]) for key, needed in graph.items()]
    needed_by = {each for needed in graph.values() for each in needed}
    tops = [Dependency(refs[key]) for key in graph if key not in needed_by]
    bom = Bom(
        serial_number=serial_of(inventory, "cyclonedx"),
        metadata=BomMetaData(timestamp=created_of(inventory), component=root, tools=ToolRepository(components=[tool])),
        components=[_component(package) for package in inventory.packages],
        dependencies=[*edges, Dependency(root.bom_ref, tops)],
        vulnerabilities=[_vulnerability(each) for each in findings or ()],
    )
    data = json.loads(JsonV1Dot6(bom).output_as_string())
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def _of_image(inventory: Inventory) -> list[tuple[str, str]]:
    manifest, snapshot = inventory.manifest, inventory.snapshot
    pairs = [("architecture", snapshot.architecture), ("model", manifest.model), ("platform", manifest.platform)]
    pairs += [
        ("identity", snapshot.identity),
        ("variant", manifest.variant),
        ("profile", manifest.profile),
        ("user", snapshot.config.user),
    ]
    pairs += [(f"option:{name}", value) for name, value in sorted(manifest.options.items())]
    pairs += [(f"toolchain:{name}", value) for name, value in sorted(manifest.toolchain.items())]
    pairs += [("files", str(sum(each.kind == "file" for each in snapshot.entries.values())))]
    pairs += [("unowned-files", str(len(inventory.unowned))), ("unowned-bytes", str(inventory.unowned_bytes))]
    pairs += [(f"note:{number}", note) for number, note in enumerate(inventory.notes)]
    return pairs


def _properties(pairs: Sequence[tuple[str, str]]) -> list[Any]:
    from cyclonedx.model import Property

    return [Property(name=PREFIX + name, value=value) for name, value in pairs if value]


def _component(package: Package) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component
    from cyclonedx.model.contact import OrganizationalEntity
    from packageurl import PackageURL

    purl = purl_of(package)
    # A lock has the hashes of all files that would do; only one is that of what was installed.
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.sha256 if len(package.sha256) == 1]
    return Component(
        name=package.name,
        version=package.version or None,
        type=_type(package),
        bom_ref=package.key,
        supplier=OrganizationalEntity(name=package.supplier) if package.supplier else None,
        purl=PackageURL.from_string(purl) if purl else None,
        hashes=hashes,
        licenses=list(_licences(package)),
        pedigree=_pedigree(package),
        external_references=list(_references(package)),
        properties=_properties(_said(package)),
    )


def _type(package: Package) -> Any:
    from cyclonedx.model.component import ComponentType

    if package.kind == "interpreter":
        return ComponentType.APPLICATION
    return ComponentType.FILE if package.kind == "records" else ComponentType.LIBRARY


def _said(package: Package) -> list[tuple[str, str]]:
    pairs = [("kind", package.kind), ("place", package.place), ("source", package.source)]
    pairs += [("source-version", package.source_version), *package.properties]
    pairs += [
        ("licence-class", ",".join(package.classes)),
        ("files", str(package.files)),
        ("bytes", str(package.bytes)),
    ]
    pairs += [("changed-after-installation", path) for path in package.changed]
    if not package.expression:
        pairs += [("licence-said", word) for word in package.licences]
    if package.missing:
        pairs.append(("missing-files", str(package.missing)))
    return pairs


def _licences(package: Package) -> Any:
    from cyclonedx.model.license import LicenseExpression

    if package.expression:
        yield LicenseExpression(package.expression)


def _references(package: Package) -> Any:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri

    if package.url:
        kind = ExternalReferenceType.VCS if package.url.endswith(".git") else ExternalReferenceType.DISTRIBUTION
        yield ExternalReference(type=kind, url=XsUri(package.url))


def _pedigree(package: Package) -> Any:
    """Return what was changed: for each step one patch, whose text says which file was what before and after."""
    from cyclonedx.model import AttachedText
    from cyclonedx.model.component import Diff, Patch, PatchClassification, Pedigree

    if not package.changes:
        return None
    patches = [
        Patch(type=PatchClassification.UNOFFICIAL, diff=Diff(text=AttachedText(content=_told(change))))
        for change in package.changes
    ]
    return Pedigree(patches=patches, notes=f"{len(patches)} steps, in the order of their numbers")


def _told(change: Change) -> str:
    head = f"{change.stage} {change.number}: {change.do} {change.what}".rstrip()
    head += f" sha256:{change.sha256}" if change.sha256 else ""
    return "\n".join([head, *(f"{each.path} {each.before or '-'} {each.after or '-'}" for each in change.files)])


def _vulnerability(finding: Finding) -> Any:
    from cyclonedx.model.vulnerability import (
        BomTarget,
        Vulnerability,
        VulnerabilityRating,
        VulnerabilityScoreSource,
        VulnerabilitySeverity,
    )

    known = {each: VulnerabilitySeverity(each) for each in _SEVERITIES}
    score = Decimal(str(finding.score)) if finding.score is not None else None
    severity = known.get(finding.severity, VulnerabilitySeverity.UNKNOWN)
    method = VulnerabilityScoreSource.get_from_vector(finding.vector) if finding.vector else None
    return Vulnerability(
        bom_ref=f"vulnerability:{finding.id}:{finding.key}",
        id=finding.id,
        ratings=[VulnerabilityRating(score=score, severity=severity, vector=finding.vector or None, method=method)],
        description=finding.summary or None,
        recommendation=f"fixed in {', '.join(finding.fixed)}" if finding.fixed else None,
        updated=_time(finding.modified),
        affects=[BomTarget(ref=finding.key)],
    )


def _time(text: str) -> datetime.datetime | None:
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")[:32])
    except ValueError:
        return None
    return found if found.tzinfo else None

"""An inventory as SPDX 2.3 JSON, through its library. The same image gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from builder.provenance.document import TOOL, created_of, depends, name_of, serial_of, title_of
from builder.provenance.inventory import Inventory, Package
from builder.provenance.licences import licensing
from builder.provenance.purl import purl_of
from builder.provenance.vulnerable import Finding

__all__ = ["spdx_document", "to_spdx"]

DOCUMENT, IMAGE = "SPDXRef-DOCUMENT", "SPDXRef-image"
_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")


def to_spdx(inventory: Inventory, findings: Sequence[Finding] | None = None) -> str:
    """Return the text of an SPDX document; `findings` are known vulnerabilities, None where nobody looked."""
    from spdx_tools.spdx.writer.json.json_writer import write_document_to_stream

    stream = io.StringIO()
    # The tests hold the library's validator against it; here it would take longer than all the rest.
    write_document_to_stream(spdx_document(inventory, findings), stream, validate=False, drop_duplicates=False)
    return stream.getvalue() + "\n"


def spdx_document(inventory: Inventory, findings: Sequence[Finding] | None = None) -> Any:
    """Return the document as the library has it."""
    from spdx_tools.spdx.model import Actor, ActorType, CreationInfo, Document, Relationship, RelationshipType

    info = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id=DOCUMENT,
        name=title_of(inventory),
        document_namespace=f"https://spdx.org/spdxdocs/drivebuild-{serial_of(inventory, 'spdx')}",
        creators=[Actor(ActorType.TOOL, TOOL)],
        created=created_of(inventory).replace(tzinfo=None),
        document_comment="\n".join(inventory.notes) or None,
    )
    ids = {package.key: _id(package) for package in inventory.packages}
    relations = [Relationship(DOCUMENT, RelationshipType.DESCRIBES, IMAGE)]
    relations += [Relationship(IMAGE, RelationshipType.CONTAINS, each) for each in ids.values()]
    for key, needed in depends(inventory).items():
        relations += [Relationship(ids[key], RelationshipType.DEPENDS_ON, ids[each]) for each in needed]
    by_key: dict[str, list[Finding]] = {}
    for finding in findings or ():
        by_key.setdefault(finding.key, []).append(finding)
    packages = [_package(each, ids[each.key], by_key.get(each.key, ())) for each in inventory.packages]
    return Document(
        creation_info=info,
        packages=[_image(inventory), *packages],
        relationships=relations,
        extracted_licensing_info=list(_extracted(inventory)),
    )


def _id(package: Package) -> str:
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", f"{package.kind}-{package.name}")[:60].strip("-")
    return f"SPDXRef-{readable}-{hashlib.sha256(package.key.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _image(inventory: Inventory) -> Any:
    from spdx_tools.spdx.model import Checksum, ChecksumAlgorithm, Package, PackagePurpose, SpdxNoAssertion

    digest = inventory.snapshot.id.removeprefix("sha256:")
    sums = [Checksum(ChecksumAlgorithm.SHA256, digest)] if re.fullmatch("[0-9a-f]{64}", digest) else []
    return Package(
        spdx_id=IMAGE,
        name=name_of(inventory),
        version=inventory.snapshot.id,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        checksums=sums,
        license_concluded=SpdxNoAssertion(),
        license_declared=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
        primary_package_purpose=PackagePurpose.CONTAINER,
        comment=f"{len(inventory.unowned)} files, {inventory.unowned_bytes} bytes, are of no package; "
        f"identity {inventory.snapshot.identity or 'unknown'}",
    )


def _package(package: Package, spdx_id: str, findings: Sequence[Finding]) -> Any:
    from spdx_tools.spdx.model import Actor, ActorType, Checksum, ChecksumAlgorithm, SpdxNoAssertion
    from spdx_tools.spdx.model import Package as SpdxPackage

    declared = licensing().parse(package.expression) if package.expression else SpdxNoAssertion()
    location = package.url
    if location.endswith(".git"):
        location = f"git+{location}@{package.version}"
    sums = package.sha256 if len(package.sha256) == 1 else ()
    return SpdxPackage(
        spdx_id=spdx_id,
        name=package.name,
        version=package.version or None,
        download_location=location or SpdxNoAssertion(),
        supplier=Actor(ActorType.ORGANIZATION, package.supplier) if package.supplier else SpdxNoAssertion(),
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, each) for each in sums],
        license_concluded=SpdxNoAssertion(),
        license_declared=declared,
        license_comment=None if package.expression or not package.licences else "; ".join(package.licences),
        copyright_text=SpdxNoAssertion(),
        source_info=_source_info(package) or None,
        comment="; ".join(f"{name}: {value}" for name, value in package.properties) or None,
        external_references=list(_references(package, findings)),
    )


def _source_info(package: Package) -> str:
    said = [f"built from {package.source} {package.source_version}".rstrip()] if package.source else []
    for change in package.changes:
        digest = f" sha256:{change.sha256}" if change.sha256 else ""
        said.append(f"{change.stage} {change.number}: {change.do} {change.what}{digest}, {len(change.files)} files")
    return "\n".join(said)


def _references(package: Package, findings: Sequence[Finding]) -> Iterator[Any]:
    from spdx_tools.spdx.model import ExternalPackageRef, ExternalPackageRefCategory

    purl = purl_of(package)
    if purl:
        yield ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", purl)
    for finding in findings:
        where = f"https://osv.dev/vulnerability/{finding.id}"
        yield ExternalPackageRef(ExternalPackageRefCategory.SECURITY, "advisory", where, finding.severity or None)


def _extracted(inventory: Inventory) -> Iterator[Any]:
    """Yield what stands behind each name that SPDX does not have: the words that a package itself uses."""
    from spdx_tools.spdx.model import ExtractedLicensingInfo

    said: dict[str, set[str]] = {}
    for package in inventory.packages:
        for name in _REFERENCE.findall(package.expression):
            said.setdefault(name, set()).update(package.licences)
    for name, words in sorted(said.items()):
        text = "; ".join(sorted(words))[:2000]
        yield ExtractedLicensingInfo(
            license_id=name, extracted_text=text, license_name=name.removeprefix("LicenseRef-")
        )

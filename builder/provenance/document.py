"""What both SBOM formats say the same: the image's name, its date, and who depends on whom. Pure."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Mapping

from builder import __version__
from builder.provenance.inventory import Inventory, Package

__all__ = ["TOOL", "created_of", "depends", "name_of", "serial_of", "title_of"]

TOOL = f"drivebuild-{__version__}"
SPACE = uuid.UUID("c44e0b5e-9a57-5a8c-8f62-9c3d6c6dd4e1")
"""Of the ids that are made of an image's."""


def name_of(inventory: Inventory) -> str:
    """Return the image's own name, by its manifest or labels: not the tag it was asked for by, which may be another."""
    labels, manifest = inventory.snapshot.config.labels, inventory.manifest
    model = manifest.model or labels.get("drivebuild.model", "")
    platform = manifest.platform or labels.get("drivebuild.platform", "")
    variant = manifest.variant or labels.get("drivebuild.variant", "")
    return f"drivebuild/{model}:{platform}-{variant}" if model and platform and variant else "image"


def title_of(inventory: Inventory) -> str:
    """Return the name with the digest, which no other image has."""
    return f"{name_of(inventory)}@{inventory.snapshot.id}"


def serial_of(inventory: Inventory, what: str) -> uuid.UUID:
    """Return an id that the same image, tool and kind of document always have."""
    return uuid.uuid5(SPACE, f"{what} {TOOL} {inventory.snapshot.id}")


def created_of(inventory: Inventory) -> datetime.datetime:
    """Return when the image was made, to the second; the epoch for one that does not say."""
    text = re.sub(r"\.\d+", "", inventory.snapshot.created).replace("Z", "+00:00")
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
    return found.replace(tzinfo=found.tzinfo or datetime.timezone.utc).astimezone(datetime.timezone.utc)


def depends(inventory: Inventory) -> dict[str, tuple[str, ...]]:
    """Return the keys of the packages that each package needs, of those that are there."""
    debs = {package.name: package for package in inventory.packages if package.kind in ("deb", "rpm")}
    sources = {package.name: package for package in inventory.packages if package.kind == "source"}
    sites: dict[str, dict[str, Package]] = {}
    for package in inventory.packages:
        if package.kind in ("python", "wheel"):
            sites.setdefault(package.place, {})[package.name] = package
    found = {}
    for package in inventory.packages:
        wanted: set[str] = set()
        if package.kind in ("deb", "rpm"):
            wanted = {debs[name].key for name in package.requires if name in debs}
        elif package.kind in ("python", "wheel"):
            wanted = _of_python(inventory, package, sites[package.place])
        if package.kind != "deb" and package.source in sources:
            wanted.add(sources[package.source].key)
        found[package.key] = tuple(sorted(wanted - {package.key}))
    return found


def _of_python(inventory: Inventory, package: Package, site: Mapping[str, Package]) -> set[str]:
    from packaging.markers import InvalidMarker, UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    environment = _environment(inventory)
    found = set()
    for line in package.requires:
        try:
            requirement = Requirement(line)
            needed = requirement.marker is None or requirement.marker.evaluate(environment)
        except (InvalidRequirement, InvalidMarker, UndefinedComparison, UndefinedEnvironmentName):
            continue
        name = canonicalize_name(requirement.name)
        if needed and name in site:
            found.add(site[name].key)
    return found


def _environment(inventory: Inventory) -> dict[str, str]:
    """Return what markers ask, of the image's interpreter and not of the one that runs this."""
    version = next((each.version for each in inventory.packages if each.kind == "interpreter"), "3.11.0")
    return {
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": "posix",
        "platform_machine": inventory.snapshot.architecture,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": "linux",
        "extra": "",
    }

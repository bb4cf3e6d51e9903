"""Package URLs: how a package is named to everybody else. Pure."""

from __future__ import annotations

import re

from builder.provenance.inventory import Package

__all__ = ["purl_of"]

_GITHUB = re.compile(r"https://github\.com/([^/]+)/([^/]+?)(?:\.git)?")


def purl_of(package: Package) -> str:
    """Return the package URL of a package, '' for what has none: drivebuild's own records."""
    from packageurl import PackageURL

    family, _, _release = package.distribution.partition("-")
    qualifiers = {"arch": package.architecture, "distro": package.distribution}
    if package.kind == "deb":
        return _text(PackageURL("deb", family or "debian", package.name, package.version or None, _some(qualifiers)))
    if package.kind == "rpm":
        epoch, colon, version = package.version.partition(":")
        qualifiers |= {"epoch": epoch if colon else ""}
        return _text(PackageURL("rpm", family, package.name, version if colon else package.version, _some(qualifiers)))
    if package.kind in ("python", "wheel"):
        return _text(PackageURL("pypi", None, package.name, package.version or None))
    if package.kind == "interpreter":
        return _text(PackageURL("generic", None, "python", package.version or None))
    if package.kind == "source":
        return _source(package)
    if package.kind == "records":
        return ""
    return _text(PackageURL("generic", None, package.name, package.version or None))


def _source(package: Package) -> str:
    from packageurl import PackageURL

    facts = dict(package.properties)
    if facts.get("type") == "git":
        match = _GITHUB.fullmatch(package.url)
        if match is not None:
            return _text(PackageURL("github", match[1].lower(), match[2].lower(), package.version))
        where = {"vcs_url": f"git+{package.url}@{package.version}"}
        return _text(PackageURL("generic", None, package.name, package.version, where))
    checksum = {"checksum": ",".join(f"sha256:{each}" for each in package.sha256), "file_name": facts.get("file", "")}
    return _text(PackageURL("generic", None, package.name, package.version or None, _some(checksum)))


def _some(words: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in words.items() if value}


def _text(purl: object) -> str:
    return str(purl)

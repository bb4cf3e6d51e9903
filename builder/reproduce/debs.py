"""The distribution's packages of an image, as far as it takes to say which of them moved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["STATUS", "moved", "of_paths", "versions"]

STATUS = "var/lib/dpkg/status"
LISTS = "var/lib/dpkg/info/"
_USR_MERGED = ("bin/", "sbin/", "lib/", "lib64/", "lib32/", "libx32/")


def versions(status: str) -> dict[str, str]:
    """Return the version of each installed package of a dpkg status file."""
    found: dict[str, str] = {}
    for paragraph in re.split(r"\n\s*\n", status):
        fields = dict(re.findall(r"^(Package|Status|Version): *(.*)$", paragraph, re.MULTILINE))
        if "installed" in fields.get("Status", "").split() and {"Package", "Version"} <= fields.keys():
            found[fields["Package"]] = fields["Version"]
    return found


def moved(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Return in words how each package differs between two images."""
    found = {}
    for name in sorted({*ours, *theirs}):
        before, after = ours.get(name), theirs.get(name)
        if before != after:
            found[name] = f"{name} {before or '(none)'} -> {after or '(none)'}"
    return found


def of_paths(lists: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return the package that each path belongs to.

    Args:
        lists: by path of a `.list` file below LISTS, its lines.
    """
    found: dict[str, str] = {}
    for path, lines in lists.items():
        package = path.removeprefix(LISTS).removesuffix(".list").partition(":")[0]
        for extension in ("list", "md5sums", "shlibs", "symbols", "triggers", "postinst", "prerm", "postrm", "preinst"):
            # dpkg's own files about the package move with it.
            found[f"{LISTS}{path.removeprefix(LISTS).removesuffix('.list')}.{extension}"] = package
        for line in lines:
            name = line.strip("/")
            found[name] = package
            if name.startswith(_USR_MERGED):
                found[f"usr/{name}"] = package
    return found

"""apt's names of releases, for systems that drivebuild does not bootstrap: their images say only a number. Pure."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["SUITES"]

SUITES: Mapping[str, str] = {
    "debian-11": "bullseye",
    "debian-12": "bookworm",
    "debian-13": "trixie",
    "ubuntu-20.04": "focal",
    "ubuntu-22.04": "jammy",
    "ubuntu-24.04": "noble",
}

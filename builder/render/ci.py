"""Workflows of CI services, from one set of scripts and figures for all services. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.recipe.types import Catalog
from builder.render.cibuilders import Ci, KubernetesBuilder, RemoteBuilder, builder_lines
from builder.render.engine import render_template

__all__ = ["ACTIONS", "Action", "render_ci"]

_SCRIPTS = "ci/"


@dataclass(frozen=True, slots=True)
class Action:
    """An action of GitHub's, by the commit that its tag was on when it was looked up."""

    repository: str
    version: str
    commit: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit} # {self.version}"


ACTIONS = {
    "checkout": Action("actions/checkout", "v7.0.1", "3d3c42e5aac5ba805825da76410c181273ba90b1"),
    "upload": Action("actions/upload-artifact", "v7.0.0", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"),
    "download": Action("actions/download-artifact", "v8.0.1", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"),
    "login": Action("docker/login-action", "v4.1.0", "4907a6ddec9925e35a0a9e82d7399ccc52663121"),
}
"""Each commit was read from a clone of the repository, as what its tag names."""
FILES = {
    ".github/workflows/images.yml": "ci/github-images.j2",
    ".github/workflows/update.yml": "ci/github-update.j2",
    "ci/gitlab.yml": "ci/gitlab.j2",
    "ci/gitlab-jobs.yml": "ci/gitlab-jobs.j2",
}
"""What is rendered, and from which template."""


_SECRETS = {
    RemoteBuilder: ("DRIVEBUILD_BUILDER_CA", "DRIVEBUILD_BUILDER_CERT", "DRIVEBUILD_BUILDER_KEY"),
    KubernetesBuilder: ("DRIVEBUILD_BUILDER_KUBECONFIG",),
}
"""What a job needs of a builder elsewhere."""


def render_ci(catalog: Catalog, templates: Mapping[str, str], site: Ci | None = None) -> dict[str, str]:
    """Return the workflows by their paths; `site` is what they do otherwise than by default."""
    values = _values(catalog, templates, site or Ci())
    return {path: render_template(templates, name, values) + "\n" for path, name in FILES.items()}


def _values(catalog: Catalog, templates: Mapping[str, str], site: Ci) -> dict[str, Any]:
    # CANN's licence is for who builds with it to read: until a site asks for more, nothing of CANN is built.
    plain = [name for name, platform in catalog.platforms.items() if platform.accelerator == "cpu"]
    filters = " ".join(f"platform={name}" for name in plain)
    return {
        "use": {name: str(action) for name, action in ACTIONS.items()},
        "shell": {
            path.removeprefix(_SCRIPTS).removesuffix(".sh"): text.partition("\n")[2]
            for path, text in templates.items()
            if path.startswith(_SCRIPTS) and path.endswith(".sh")
        },
        "builders": builder_lines(site.builders),
        "builder_secrets": [
            name
            for kind, names in _SECRETS.items()
            if any(isinstance(builder, kind) for builder in site.builders.values())
            for name in names
        ],
        "branch": "main",
        "environment": "images",
        "runners": {"x86_64": "ubuntu-24.04", "aarch64": "ubuntu-24.04-arm"},
        "weekly_images": "23 1 * * 6",
        "weekly_update": "17 3 * * 1",
        "days": 14,
        "gitlab": {
            "main": "ci/gitlab.yml",
            "jobs": "ci/gitlab-jobs.yml",
            "image": "debian:trixie",
            "engine": "docker:28-dind",
            "proposals": "drivebuild-update",
            "images": "drivebuild-images",
        },
        "filter": filters,
        "trial": f"{filters} variant=stock".strip(),
    }

"""The base images that drivebuild makes itself, a job for each: made once, before all jobs that build on them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from builder.recipe.types import Architecture
from builder.render.matrix import Row, Runner

__all__ = ["BaseJob", "bases_of"]


class BaseJob(msgspec.Struct, frozen=True, kw_only=True):
    """One base image on one architecture."""

    name: str
    id: str
    base: str
    """The image's name, as Dockerfiles have it."""
    base_id: str
    """The same as `id`: jobs of all kinds say by it which base they want."""
    base_ref: str
    """Its tag in a registry's repository of bases."""
    platform: str
    """One of the platforms that stand on it, for `drivebuild base`."""
    architecture: Architecture
    target: str
    docker_platform: str
    runner: Runner


def bases_of(rows: Iterable[Row]) -> tuple[BaseJob, ...]:
    """Return what the rows' images stand on, each once; platforms may share one."""
    first = {row.base_id: row for row in reversed(tuple(rows)) if row.base}
    return tuple(
        BaseJob(
            name=f"base {row.base.rpartition(':')[2]} {row.architecture}",
            id=name,
            base=row.base,
            base_id=name,
            base_ref=name.removeprefix("base-"),
            platform=row.platform,
            architecture=row.architecture,
            target=row.target,
            docker_platform=row.docker_platform,
            runner=row.runner,
        )
        for name, row in sorted(first.items())
    )

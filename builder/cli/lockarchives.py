"""What `lock` asks source archives with: the engine, and the base image that drivebuild makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from builder.engine.text import printable

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.source.archives import Archives

__all__ = ["archives"]

PLATFORM = "debian-12-cpu"


def archives(settings: Settings, environment: Mapping[str, str], newest: date | None) -> Archives:
    """Return what asks archives; the engine is looked for when the first one has to be.

    Args:
        environment: what uv is told of the site's network.
        newest: the day that bounds the lock bounds what archives are built with, too.
    """
    from builder.engine.process import SystemRunner
    from builder.source.archives import Archives
    from builder.source.lock import no_newer

    return Archives(
        ask=lambda argv: SystemRunner().run(argv, env=environment),
        box=_Box(settings),
        network=settings.network(),
        newest=no_newer(newest),
        say=lambda text: typer.echo(f"          {printable(text)}", err=True),
    )


class _Box:
    """A container for each question; the image is looked for once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._image = ""

    def __call__(self, archive: Path, library: Path | None, granted: Sequence[str]) -> Mapping[str, Any]:
        from builder.engine.metadata import ask_archive
        from builder.engine.process import SystemRunner

        self._image = self._image or _image(self._settings)
        return ask_archive(self._image, archive, library, granted, SystemRunner())


def _image(settings: Settings) -> str:
    """Return a base image with a Python: the shipped one that needs no registry, made where it is missing.

    What the recipes at hand call a base is not asked: they may be a stranger's.

    Raises:
        BuildError: when there is no engine, or it cannot be made.
    """
    from builder.cli.live import Say
    from builder.engine.base import ensure_base
    from builder.engine.host import connect
    from builder.engine.process import SystemRunner
    from builder.source.catalog import read_catalog

    platform = read_catalog().platforms[PLATFORM]
    say: Callable[[str], None] = Say(quiet=False)
    mirror = settings.network().mirror_of(platform.system)
    ensure_base(platform, engine=connect(), runner=SystemRunner(), say=say, mirror=mirror)
    return platform.base.image

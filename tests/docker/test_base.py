"""A base image from the distribution's packages, for real."""

from __future__ import annotations

import msgspec
import pytest

from builder.engine.base import ensure_base
from builder.engine.host import Engine
from builder.engine.process import SystemRunner
from builder.recipe.types import Catalog

pytestmark = pytest.mark.docker


def test_a_small_base(engine: Engine, tag: str, catalog: Catalog) -> None:
    platform = catalog.platforms["debian-12-cpu"]
    bootstrap = msgspec.structs.replace(platform.base.bootstrap, include=())
    base = msgspec.structs.replace(platform.base, image=tag, bootstrap=bootstrap)
    small = msgspec.structs.replace(platform, base=base)
    said: list[str] = []
    assert ensure_base(small, engine=engine, runner=SystemRunner(), say=said.append)
    image = engine.image(tag)
    assert image is not None
    assert len(image.layers) == 1
    assert any("success in" in line for line in said)
    assert not ensure_base(small, engine=engine, runner=SystemRunner(), say=said.append)

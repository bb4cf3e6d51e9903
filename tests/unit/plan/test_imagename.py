"""What an image can be called, and what is said of the rest."""

from __future__ import annotations

from typing import Any, cast

import pytest
from support.cli import drivebuild, refused

from builder.engine.host import Engine
from builder.errors import UsageError
from builder.plan.imagename import is_image

NAMES = (
    "drivebuild/streampetr:debian-12-cpu-stock",
    "localhost/drivebuild/base:debian-12",
    "registry.example:5000/team/model@sha256:" + "1" * 64,
    "host:5000/a",
    "0a1b2c3d4e5f",
    "sha256:0a1b2c3d",
)
NONE = (
    "",
    " ",
    "a b",
    "-x",
    "--help",
    "a:b:c",
    "a/../b",
    "../info",
    "a:",
    ":b",
    "a\n",
    "Team/model",
    "a@sha256:1",
    "a?x=1",
)


@pytest.mark.parametrize("name", NAMES)
def test_what_an_engine_takes(name: str) -> None:
    assert is_image(name)


@pytest.mark.parametrize("name", NONE)
def test_no_engine_is_asked_for_what_can_be_no_name(name: str) -> None:
    # Its client would fail at the first question.
    with pytest.raises(UsageError, match="no image's name"):
        Engine(cast("Any", None)).image(name)


@pytest.mark.parametrize("name", ["a b", "a@sha256:" + "1" * 64, "-x"])
def test_a_tag_is_looked_at_before_anything_is_made(name: str) -> None:
    said = refused(drivebuild("image", "streampetr", "--dry-run", f"--tag={name}"), 2)
    assert "no image can be called that" in said

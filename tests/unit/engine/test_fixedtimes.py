"""Fixed times: asked for where the builder knows them, refused where it would ignore them without a word."""

from __future__ import annotations

import pytest

from builder.engine.builders import Builder, parse_builder
from builder.engine.command import Choices
from builder.engine.fixedtimes import check_fixed_times
from builder.engine.host import Facts
from builder.errors import UsageError


def facts(version: str, *, containerd_store: bool = True) -> Facts:
    return Facts(version=version, architecture="x86_64", root="/r", containerd_store=containerd_store)


def builder(buildkit: str) -> Builder:
    return Builder(name="farm", driver="remote", buildkit=buildkit)


@pytest.mark.parametrize(
    ("of", "engine", "message"),
    [
        (None, facts("26.1.5", containerd_store=False), "keeps the times of the build"),
        (Builder(name="default", driver="docker"), facts("29.0.0", containerd_store=False), "keeps the times"),
        (None, facts("25.0.3"), "Docker 25.0.3 has a BuildKit that ignores it"),
        (builder("v0.12.5"), facts("29.0.0"), "builder farm has BuildKit v0.12.5, which ignores it"),
    ],
)
def test_who_would_ignore_it(of: Builder | None, engine: Facts, message: str) -> None:
    with pytest.raises(UsageError, match=message) as found:
        check_fixed_times(Choices(builder=of), engine)
    assert found.value.hint


@pytest.mark.parametrize(
    ("of", "engine"),
    [
        (None, facts("26.1.5+dfsg1")),
        (builder("v0.13.0"), facts("20.10.1", containerd_store=False)),
        (builder("v0.0.0+unknown"), facts("20.10.1", containerd_store=False)),
        (builder(""), facts("29.0.0")),
    ],
)
def test_who_knows_it(of: Builder | None, engine: Facts) -> None:
    check_fixed_times(Choices(builder=of), engine)


@pytest.mark.parametrize("key", ["BuildKit version", "Buildkit"])
def test_a_builder_says_its_buildkit(key: str) -> None:
    found = parse_builder(f"Name: farm\nDriver: remote\n\nNodes:\nName: farm0\nStatus: running\n{key}: v0.26.3\n")
    assert found.buildkit == "v0.26.3"

"""Fixtures of the tests that need a real engine with BuildKit.

Without an engine they are skipped, and say so; with DRIVEBUILD_TEST_ENGINE=required, as in `./quickstart test`
and CI, that is a failure instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.engine import stage, toy_plan

from builder.engine.base import ensure_base
from builder.engine.build import Choices, build
from builder.engine.host import Engine, connect, require_buildx
from builder.engine.local import LocalSource
from builder.engine.process import SystemRunner
from builder.engine.record import BuildRecord
from builder.errors import BuildError
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_stage

BASE = "localhost/drivebuild/base:debian-12"
Build = Callable[..., BuildRecord]


@pytest.fixture(scope="session")
def engine(catalog: Catalog) -> Engine:
    """Return the engine, with the base image in it."""
    runner = SystemRunner()
    try:
        found = connect()
        require_buildx(runner)
    except BuildError as error:
        reason = f"NO ENGINE: {error.message} ({error.hint})"
        if os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    ensure_base(catalog.platforms["debian-12-cpu"], engine=found, runner=runner, say=lambda _line: None)
    return found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep records and caches of tests out of the user's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def tag(tmp_path: Path) -> Iterator[str]:
    """Return a tag that is removed afterwards."""
    name = f"drivebuild-test/{tmp_path.name.replace('_', '-').lower()}:{os.getpid()}"
    yield name
    SystemRunner().run(("docker", "image", "rm", "--force", name))


@pytest.fixture(scope="session")
def toolchain(catalog: Catalog, engine: Engine, templates: dict[str, str]) -> Iterator[str]:
    """Return an image of the stage that has the compiler."""
    name = "drivebuild-test/toolchain:1"
    names = ("os-packages", "base", "build-base", "toolchain")
    real = {
        each.name: each for each in make_plan(catalog, "streampetr", platform="debian-12-cpu", variant="pgo").stages
    }
    text = "\n".join(render_stage(real[each], templates) for each in names)
    command = ("docker", "buildx", "build", "--quiet", "--load", "--tag", name, "--target", "toolchain", "-")
    done = SystemRunner().run(command, stdin=text.encode())
    assert done.code == 0, done.complaint
    yield name
    SystemRunner().run(("docker", "image", "rm", "--force", name))


@pytest.fixture
def build_toy(engine: Engine, tag: str) -> Build:
    """Return a function that builds a Dockerfile whose stages are named in order, each needing the one before."""

    def build_it(dockerfile: str, *names: str, until: str = "", sources: tuple[LocalSource, ...] = ()) -> BuildRecord:
        stages = [stage(name, names[number - 1] if number else "scratch") for number, name in enumerate(names)]
        choices = Choices(until=until, tag=tag, sources=sources, retry="drivebuild image toy")
        return build(toy_plan(*stages), dockerfile, choices, runner=SystemRunner(), engine=engine)

    return build_it

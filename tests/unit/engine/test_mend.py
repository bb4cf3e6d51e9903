"""Which stages a lost layer may be of."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.engine import stage, toy_plan

from builder.engine.command import Choices
from builder.engine.local import LocalSource
from builder.engine.mend import looked_at, lost_of_cache, stands_on
from builder.engine.state import Failure

PLAN = toy_plan(
    stage("base"),
    stage("tools", "base"),
    stage("src-ops"),
    stage("wheels", "base", "src-ops"),
    stage("env", "base", "wheels"),
    stage("tree", "env", "tools"),
    stage("image", "tree"),
)


@pytest.mark.parametrize(
    ("failed", "stages"),
    [
        ("export", ("base", "env", "tree", "image")),
        ("tree", ("base", "tools", "env", "tree")),
        ("wheels", ("base", "src-ops", "wheels")),
        ("base", ("base",)),
        ("", ("base", "env", "tree", "image")),
    ],
)
def test_what_a_step_stands_on(failed: str, stages: tuple[str, ...]) -> None:
    assert stands_on(PLAN, Choices(), failed) == stages


def test_a_part_of_the_plan_and_folders_that_stand_for_stages() -> None:
    assert stands_on(PLAN, Choices(until="env"), "export") == ("base", "env")
    own = LocalSource(stage="src-ops", folder=Path("/src"), note="")
    assert stands_on(PLAN, Choices(sources=(own,)), "wheels") == ("base", "wheels")
    assert stands_on(PLAN, Choices(contexts=(("src-ops", Path("/store")),)), "wheels") == ("base", "wheels")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        ("failed to get layer sha256:52: layer does not exist", True),
        ("failed to compute cache key: failed to calculate checksum of ref a::b: layer does not exist", True),
        ("stat /var/lib/docker/overlay2/wplhkdk3: no such file or directory", True),
        ('process "/bin/sh -c cat /x" did not complete successfully: exit code: 1', False),
        ("parent snapshot sha256:ba does not exist: not found", False),
    ],
)
def test_what_an_engine_says_of_it(error: str, lost: bool) -> None:  # a parameter of the table
    # What a program in the build prints is no word of the engine's.
    assert lost_of_cache(Failure("tree", "RUN", error, ("layer does not exist",))) == lost


def test_a_look_keeps_what_the_build_was_given() -> None:
    given = Choices(until="image", tag="t", no_cache=True, again=("env",), jobs=3, load=False, target="aarch64")
    look = looked_at(given, "env", "mending:1", again=("env",))
    assert (look.until, look.tag, look.load, look.no_cache, look.again) == ("env", "mending:1", True, False, ("env",))
    assert (look.jobs, look.target) == (3, "aarch64")
    assert looked_at(given, "env", "mending:1").again == ()

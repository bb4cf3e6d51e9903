"""What aarch64 images with Python 3.8 need: the package index has every file that their locks name.

The only tests here that ask the real index, with the configuration that uv finds. Without one they skip, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from builder.engine.process import SystemRunner
from builder.plan.locks import parse_lock
from builder.plan.make import make_plan
from builder.plan.needs import PackageNeed, plan_needs
from builder.recipe.types import Catalog
from builder.source.catalog import read_catalog
from builder.source.fetch import fetch
from builder.source.index import Located, locate
from builder.source.network import Network
from builder.source.store import Store

CATALOG = read_catalog()
NPU_PLATFORMS = sorted(
    name
    for name, platform in CATALOG.platforms.items()
    if platform.accelerator == "npu" and platform.python.series == "3.8" and not platform.locks
)
MODELS = sorted(CATALOG.models)
SMALL = ("einops", "terminaltables", "wheel")
"""A few packages of some kilobytes that are really downloaded: pure Python, as most are."""


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the folder's guard: this asks uv, which asks the index."""


@dataclass(frozen=True)
class Line:
    """One line of a lock, as a question to the index."""

    name: str
    version: str
    sha256: str
    lock: str
    python: str = "3.8"
    architecture: str = "aarch64"


def lines(catalog: Catalog) -> tuple[Line, ...]:
    """Return every pinned file of every aarch64 lock of the platforms with Python 3.8."""
    found = []
    for path, text in sorted(catalog.locks.items()):
        platform, _, name = path.partition("/")
        if platform in NPU_PLATFORMS and name.endswith(".aarch64.txt"):
            for package, (version, hashes) in parse_lock(text, path).items():
                found += [Line(package, version, sha256, path) for sha256 in hashes]
    return tuple(found)


@cache
def answers() -> Located:
    return locate(lines(CATALOG), lambda argv: SystemRunner().run(argv))


@pytest.fixture(scope="module")
def located() -> Located:
    """Return the index' answers, or skip where there is no index."""
    found = answers()
    silent = [why for why in found.failures.values() if "Request failed" in why or "error sending request" in why]
    if silent and not found.files:
        pytest.skip(f"NO PACKAGE INDEX HERE, so nothing is known of aarch64: {silent[0]}")
    return found


def needs_of(model: str) -> tuple[PackageNeed, ...]:
    plan = make_plan(CATALOG, model, architecture="aarch64")
    return tuple(need for need in plan_needs(CATALOG, plan, "aarch64") if isinstance(need, PackageNeed))


def test_there_are_locks_for_every_model() -> None:
    assert len(NPU_PLATFORMS) >= 3
    assert len(MODELS) >= 5
    named = {line.lock.partition("/")[2].removesuffix(".aarch64.txt") for line in lines(CATALOG)}
    assert named >= {*MODELS, "framework", "adapter"}
    assert len(lines(CATALOG)) > 300


@pytest.mark.parametrize("platform", NPU_PLATFORMS)
def test_every_line_of_a_lock_is_a_file_of_the_index(platform: str, located: Located) -> None:
    wanted = [line for line in lines(CATALOG) if line.lock.startswith(f"{platform}/")]
    assert wanted
    missing = [f"{line.lock}: {line.name} {line.version}" for line in wanted if line.sha256 not in located.files]
    assert missing == []
    for line in wanted:
        file = located.files[line.sha256]
        assert file.sha256 == line.sha256
        assert file.url.rpartition("/")[2]
        if not file.sdist:
            tags = file.name.removesuffix(".whl").split("-")[-3:]
            assert tags[2] == "any" or "aarch64" in tags[2], file.name
            assert any(part in ("py3", "py2", "cp38", "abi3") or part.startswith("cp3") for part in tags[0].split("."))


@pytest.mark.parametrize("model", MODELS)
def test_what_a_model_needs_is_in_its_locks(model: str) -> None:
    own = [need for need in needs_of(model) if need.stage.startswith("packages-") and "installer" not in need.stage]
    assert {need.python for need in own} == {"3.8"}
    pinned = {line.sha256 for line in lines(CATALOG)}
    assert {need.sha256 for need in own} <= pinned
    assert len(own) > 50


def test_a_few_are_fetched_with_their_hashes(located: Located, tmp_path: Path) -> None:
    few = {need.key: need for model in MODELS for need in needs_of(model) if need.name in SMALL}
    assert len(few) >= len(SMALL)
    store = Store.make(tmp_path / "store")
    done = fetch(few.values(), store, Network(), SystemRunner())
    assert {entry.sha256 for entry in done.new} == {need.sha256 for need in few.values()}
    assert store.verify() == ()
    assert {entry.file for entry in done.new} <= {file.name for file in located.files.values()}
    assert fetch(few.values(), store, Network(), SystemRunner()).new == ()

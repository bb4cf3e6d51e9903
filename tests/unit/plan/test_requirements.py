"""What locks are resolved from: which there are, and that the installer's is one of them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from support.files import texts, toy

from builder.plan.locks import installer_lock, parse_lock
from builder.plan.make import make_plan
from builder.plan.requirements import INSTALLER, lock_inputs
from builder.recipe.load import load
from builder.recipe.types import Catalog
from builder.source.catalog import read_catalog
from builder.source.lock import lock_text, stale


def test_paths_of_a_small_catalog() -> None:
    assert [item.path for item in lock_inputs(load(texts(toy()), {}))] == [
        "installer/uv.x86_64.txt",
        "installer/uv.aarch64.txt",
        "plat/framework.aarch64.txt",
        "plat/toy.aarch64.txt",
        "plat/framework.x86_64.txt",
        "plat/toy.x86_64.txt",
    ]


def test_every_shipped_lock_is_made_by_lock() -> None:
    catalog = read_catalog()
    assert set(catalog.locks) == {item.path for item in lock_inputs(catalog)}


def test_the_installer_is_pinned_exactly_and_installed_as_pinned() -> None:
    catalog = read_catalog()
    name, _, version = INSTALLER.partition("==")
    hashes = []
    for architecture in ("x86_64", "aarch64"):
        pinned = parse_lock(catalog.locks[installer_lock(architecture)], "uv")
        assert list(pinned) == [name]
        assert pinned[name][0] == version
        hashes += pinned[name][1]
    # one line for both architectures, on every platform: the stage's text is one for all
    line = INSTALLER + "".join(f" --hash=sha256:{item}" for item in hashes)
    for platform in ("debian-12-cpu", "cann-8.1.rc1"):
        stage = next(item for item in make_plan(catalog, "streampetr", platform=platform).stages if item.name == "uv")
        assert stage.inputs["requirements"] == (line,)


def test_another_installer_makes_its_locks_stale(catalog: Catalog) -> None:
    inputs = lock_inputs(catalog)[:2]
    locks = {item.path: lock_text(item, ("uv==1",)) for item in inputs}
    assert list(stale(inputs, locks)) == []
    other = tuple(replace(item, requirements=("uv==0.0.1",)) for item in inputs)
    assert list(stale(other, locks)) == list(other)
    assert list(stale(inputs, {})) == list(inputs)


def test_a_catalog_without_models_still_needs_the_installer(catalog: Catalog) -> None:
    empty = msgspec.structs.replace(catalog, models={}, platforms={})
    assert [item.path for item in lock_inputs(empty)] == [installer_lock("x86_64"), installer_lock("aarch64")]

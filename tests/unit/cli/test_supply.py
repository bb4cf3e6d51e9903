"""What a build is given beside its Dockerfile: a source that is not whole is said before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.engine import FakeEngine
from support.runner import RecordingRunner

from builder.cli.main import Settings
from builder.cli.supply import Wanted, supplied
from builder.errors import SourceError
from builder.plan.make import make_plan
from builder.recipe.types import Catalog, GitSource


@pytest.mark.parametrize("offline", [True, False])
def test_a_store_has_no_submodules_and_says_so_before_hours_of_compiling(
    catalog: Catalog, tmp_path: Path, *, offline: bool
) -> None:
    plan = make_plan(catalog, "streampetr", variant="lto-full")
    wanted = Wanted(store=tmp_path / "store", offline=offline, agreements=("bisheng",))
    with (
        pytest.raises(SourceError) as caught,
        supplied(Settings(), plan, wanted, engine=FakeEngine(), runner=RecordingRunner()),
    ):
        pass
    assert "pytorch-2.1.0: commit 7bcf7da3a268" in caught.value.message
    assert "it has submodules, and a store or a mirror brings none" in caught.value.message
    assert caught.value.hint == "--source pytorch-2.1.0=DIR takes a folder that has them"
    assert not (tmp_path / "store").exists()


def test_only_what_is_compiled_with_hours_of_work_has_any(catalog: Catalog) -> None:
    names = {name for name, source in catalog.sources.items() if isinstance(source, GitSource) and source.submodules}
    assert names == {"pytorch-2.1.0", "torch-npu-6.0.0", "torch-npu-7.0.0", "torch-npu-7.1.0"}

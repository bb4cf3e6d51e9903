"""A small nuScenes, made once, and copies of it to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builder.dataset.synth import synthesize


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set that nothing may change."""
    root = tmp_path_factory.mktemp("whole") / "nuscenes"
    synthesize(root, scenes=2, samples=3)
    return root


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """Return a data set of the test's own."""
    target = tmp_path / "site" / "nuscenes"
    shutil.copytree(whole, target)
    return target

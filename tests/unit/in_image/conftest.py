"""The scripts of tests/in_image import each other as they do in an image: from their own folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from builder import paths


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a script by name, anew, and forget all of them afterwards."""
    monkeypatch.syspath_prepend(str(paths.IN_IMAGE))
    names = {path.stem for path in paths.IN_IMAGE.glob("*.py")}
    finders = list(sys.meta_path)

    def forget() -> None:
        for name in names & set(sys.modules):
            del sys.modules[name]

    forget()
    yield importlib.import_module
    forget()
    sys.meta_path[:] = finders

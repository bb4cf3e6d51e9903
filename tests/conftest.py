"""Fixtures for all tests: the shipped recipes and templates, read once."""

from __future__ import annotations

import pytest
from support.locks import with_locks

from builder.recipe.types import Catalog
from builder.source.catalog import read_catalog, read_templates


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Return the shipped recipes, with stand-ins for locks that are not made yet."""
    return with_locks(read_catalog())


@pytest.fixture(scope="session")
def templates() -> dict[str, str]:
    """Return the shipped templates."""
    return read_templates()

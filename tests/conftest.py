"""Fixtures for all tests: the shipped recipes and templates, read once."""

from __future__ import annotations

import signal

import pytest
from support.locks import with_locks

from builder.recipe.types import Catalog
from builder.source.catalog import read_catalog, read_templates


def pytest_configure() -> None:
    """Let signals end what tests start, also where pytest itself runs under `nohup` or behind a script's `&`.

    What is ignored is ignored by all children, too; a handler stays here.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Return the shipped recipes, with stand-ins for locks that are not made yet."""
    return with_locks(read_catalog())


@pytest.fixture(scope="session")
def templates() -> dict[str, str]:
    """Return the shipped templates."""
    return read_templates()

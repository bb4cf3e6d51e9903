"""The guard of tests/support stands over every unit test."""

from __future__ import annotations

from support.guard import guard

__all__ = ["guard"]

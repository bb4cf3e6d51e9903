"""Whole commands, on this machine's disk; the guard against processes, sockets and engines stands here, too."""

from __future__ import annotations

from support.guard import guard

__all__ = ["guard"]

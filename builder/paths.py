"""Where the shipped recipes, templates and in-image checks are, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

__all__ = ["IN_IMAGE", "RECIPES", "TEMPLATES", "in_checkout"]

_PACKAGE = Path(__file__).resolve().parent


def _beside_or_inside(beside: str, inside: str) -> Path:
    installed = _PACKAGE / inside
    return installed if installed.is_dir() else _PACKAGE.parent / beside


RECIPES = _PACKAGE / "recipes"
TEMPLATES = _beside_or_inside("templates", "_templates")
IN_IMAGE = _beside_or_inside("tests/in_image", "_in_image")


def in_checkout() -> bool:
    """Return whether drivebuild runs from a checkout, where rendered files are committed beside it."""
    return (_PACKAGE.parent / "pyproject.toml").is_file()

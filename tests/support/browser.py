"""Pages in a real browser: on a desk, on a phone, and what is drawn in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Open = Callable[..., Any]
"""Opens a page, of which nothing may be said on the console, and nothing asked for."""
DESK = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 375, "height": 812}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
PLOTS = """Bokeh.documents.flatMap(doc => [...doc.all_models]).filter(model => model.type === "Figure")"""


def until(tab: Any, expression: str) -> None:
    """Wait for an expression to be true; playwright's own way evaluates a text, which the page's policy forbids."""
    for _ in range(600):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def plots(tab: Any) -> list[Any]:
    return list(tab.evaluate(f"{PLOTS}.map(plot => plot.title.text)"))

"""One page in one file: no network, no other file. All that comes from elsewhere is escaped.

A policy in the page lets only its own two scripts run, by their hashes: text that got past the escaping would stay
text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from builder import __version__
from builder.errors import UsageError

__all__ = ["COLOURS", "bokeh_script", "fill_page", "plain_figure", "style"]

COLOURS = ("#3b82f6", "#f97316", "#10b981", "#e11d48", "#a855f7", "#ca8a04", "#0891b2", "#8d6e63")
"""Told apart on white and on near black."""


def bokeh_script() -> str:
    """Return BokehJS as text.

    Raises:
        UsageError: when Bokeh is not installed.
    """
    try:
        from bokeh.resources import INLINE
    except ImportError as error:
        hint = "install it: pip install 'drivebuild[report]'"
        raise UsageError("--html needs Bokeh, which draws the curves", hint=hint) from error
    return "\n".join(INLINE.js_raw[:1])


def fill_page(template: str, values: Mapping[str, Any], plots: Any) -> str:
    """Return a page's text: a template of builder/web's look, what it shows, and the plots as BokehJS takes them.

    Raises:
        UsageError: when Bokeh is not installed.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    bokeh, script = bokeh_script(), _part("page.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # Those that are not escaped are ours or Bokeh's; the data is escaped as JSON inside a script wants it.
    return environment.from_string(template).render(
        **values,
        version=__version__,
        css=Markup(style()),  # noqa: S704
        bokeh=Markup(bokeh),  # noqa: S704
        script=Markup(script),  # noqa: S704
        hashes=Markup(" ".join(_hash(text) for text in (bokeh, script))),  # noqa: S704
        data=Markup(_json(plots)),  # noqa: S704
    )


def plain_figure(**words: Any) -> Any:
    """Return an empty plot that fits the page; the page's script gives it the colours of the reader's mode."""
    from bokeh.plotting import figure

    plot = figure(
        min_border_left=74,
        min_border_right=16,
        sizing_mode="stretch_width",
        active_scroll=None,
        toolbar_location="above",
        background_fill_color=None,
        border_fill_color=None,
        # BokehJS clears its canvas half a pixel off: without the cut, a line of the last picture stays at two edges.
        # What is cut is not scrolled to either: parts that show nothing lie beyond the edge where labels are long.
        styles={"clip-path": "inset(1px 0 0 1px)", "overflow": "clip"},
        **words,
    )
    plot.toolbar.logo = None
    return plot


def style() -> str:
    """Return the style of all pages, with a class `mark-N` for each of COLOURS."""
    return _part("page.css") + _marks()


def _part(name: str) -> str:
    return (files("builder.web") / name).read_text(encoding="utf-8")


def _marks() -> str:
    return "".join(f".mark-{number} {{ --mark: {colour}; }}\n" for number, colour in enumerate(COLOURS))


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _json(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

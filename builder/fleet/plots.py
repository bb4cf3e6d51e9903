"""The timeline of a page about many builds: for each image its stages, from their beginning to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.fleet.bars import rows_of
from builder.fleet.report import image_words
from builder.fleet.words import human_seconds
from builder.web.page import plain_figure

if TYPE_CHECKING:
    from builder.fleet.bars import Row
    from builder.fleet.report import Report

__all__ = ["KINDS", "make_plots"]

KINDS = {"ran": "#3b82f6", "shared": "#10b981", "failed": "#e11d48", "cut off": "#ca8a04", "written": "#8d6e63"}
"""Colours of bars: told apart on white and on near black."""
LANE, HEAD, GAP = 12, 16, 8
"""Heights in pixels."""
ROOM = 0.007
"""Of the plot's width, for each letter in a bar; on a phone they may stand out."""
LABEL = 90
"""Characters of a row's heading at most."""


def make_plots(report: Report) -> dict[str, Any]:
    """Return the timeline as BokehJS takes it."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    return dict(json_item(_timeline(report), ID("plots")))


def _timeline(report: Report) -> Any:
    from bokeh.models import ColumnDataSource, HoverTool, Range1d

    rows = tuple(rows_of(report))
    bars: dict[str, dict[str, list[Any]]] = {kind: _columns() for kind in KINDS}
    heads: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    height = 0
    for row in rows:
        heads["x"].append(0.0)
        heads["y"].append(-height - HEAD / 2)
        heads["text"].append(_heading(row))
        for bar in row.bars:
            into = bars[bar.kind]
            top = -(height + HEAD + bar.lane * LANE)
            values = (bar.begin, bar.end, top, top - LANE + 2, bar.stage, row.image.name, bar.users, bar.kind)
            for column, value in zip(into, values, strict=True):
                into[column].append(value)
        height += HEAD + row.lanes * LANE + GAP
    length = max((bar.end for row in rows for bar in row.bars), default=1.0)
    plot = plain_figure(
        title="Stages of each image over time",
        height=height + 130,
        x_range=Range1d(start=-0.005 * length, end=1.01 * length, bounds="auto"),
        y_range=Range1d(start=-height, end=0),
        x_axis_label="seconds since the beginning",
        tools="xpan,xwheel_zoom,xbox_zoom,reset,save",
        active_drag=None,
    )
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    parts = []
    for kind, columns in bars.items():
        if columns["left"]:
            source = ColumnDataSource(columns)
            words = {"source": source, "color": KINDS[kind], "fill_alpha": 0.45 if kind == "shared" else 0.9}
            parts.append((kind, [plot.quad(left="left", right="right", top="top", bottom="bottom", **words)]))
    plot.text("x", "y", "text", source=ColumnDataSource(heads), **_text())
    plot.text("x", "y", "text", source=ColumnDataSource(_names(bars, length)), **_text("#ffffff", "9px"))
    tips = [("stage", "@stage"), ("image", "@image"), ("from, to", "@left{0.0} s, @right{0.0} s"), ("", "@what")]
    tips += [("images that need it", "@users")]
    plot.add_tools(HoverTool(renderers=[drawn for _, found in parts for drawn in found], tooltips=tips))
    _legend(plot, parts)
    return plot


def _columns() -> dict[str, list[Any]]:
    return {name: [] for name in ("left", "right", "top", "bottom", "stage", "image", "users", "what")}


def _names(bars: dict[str, dict[str, list[Any]]], length: float) -> dict[str, list[Any]]:
    """Return the names of stages in bars that have room for them; a shared one stands in the bar of who began it."""
    found: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    for kind in ("ran", "failed"):
        columns = bars[kind]
        for left, right, top, name in zip(*(columns[each] for each in ("left", "right", "top", "stage")), strict=True):
            if right - left > ROOM * length * len(name):
                found["x"].append(left + 0.003 * length)
                found["y"].append(top - LANE / 2 + 1)
                found["text"].append(name)
    return found


def _text(colour: str = "#808080", size: str = "12px") -> dict[str, Any]:
    # A grey that is read on white and on near black: the page's script paints axes, not glyphs.
    return {"text_baseline": "middle", "text_font_size": size, "text_color": colour}


def _heading(row: Row) -> str:
    image = row.image
    text = f"{image.name}: {image.state}, {human_seconds(image.seconds)}"
    words = image_words(image)
    text = f"{text} ({words})" if words else text
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"


def _legend(plot: Any, parts: list[tuple[str, list[Any]]]) -> None:
    from bokeh.models.annotations import Legend, LegendItem

    items = [LegendItem(label={"value": label}, renderers=drawn) for label, drawn in parts]
    legend = Legend(items=items, click_policy="hide", orientation="horizontal", location="top_left", margin=0)
    plot.add_layout(legend, "below")

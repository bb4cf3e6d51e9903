"""The curves of a results page, by Bokeh: its Python package has the script that draws them, so nothing is fetched.

Colours of axes and backgrounds are set in the browser, by builder/web/page.js: they follow its light or dark mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from builder.training.thin import MOST, thin
from builder.web.page import COLOURS, plain_figure

if TYPE_CHECKING:
    from builder.training.gather import Report

__all__ = ["make_plots"]

PARTS = 12
FEW = 60


def make_plots(reports: Sequence[Report], labels: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Return the plots as BokehJS takes them, and whether a curve has fewer points than the log has lines."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item
    from bokeh.layouts import column
    from bokeh.models import DataRange1d

    shared = DataRange1d()
    thinned = any(len(report.series.at) > MOST for report in reports)
    figures = []
    for title, unit, all_curves in _kinds(reports, labels):
        curves = [curve for curve in all_curves if curve[2]]
        if curves:
            figures.append(_figure(title, unit, curves, shared))
    layout = column(*figures, sizing_mode="stretch_width", spacing=18)
    return dict(json_item(layout, ID("plots"))), thinned


Curve = tuple[str, str, list[float], list[float], str]
"""Label, colour, x, y, and the line's dash."""


def _kinds(reports: Sequence[Report], labels: Sequence[str]) -> Iterator[tuple[str, str, list[Curve]]]:
    colours = [COLOURS[index % len(COLOURS)] for index in range(len(reports))]
    named = list(zip(reports, labels, colours, strict=True))
    for title, unit, attribute in (
        ("Loss", "loss", "loss"),
        ("Step time", "seconds", "seconds"),
        ("Learning rate", "learning rate", "rate"),
    ):
        curves: list[Curve] = [
            (label, colour, *thin(report.series.at, getattr(report.series, attribute)), "solid")
            for report, label, colour in named
        ]
        if attribute == "seconds":
            curves += _published(reports)
        yield title, unit, curves
    if len(reports) == 1:
        series = reports[0].series
        parts = list(series.parts.items())[:PARTS]
        yield (
            "Other figures",
            "value",
            [
                (name, COLOURS[index % len(COLOURS)], *thin(series.at, values), "solid" if index < 8 else "dashed")
                for index, (name, values) in enumerate(parts)
            ],
        )


def _published(reports: Sequence[Report]) -> Iterator[Curve]:
    """Yield one level line for each published step time that a run is compared with."""
    lasts = [report.series.at[-1] for report in reports if len(report.series.at)]
    seen: set[tuple[str, float]] = set()
    for report in reports:
        for item in report.comparison.compared:
            value = item.row.step_seconds
            if value is None or not lasts or (report.model.name, value) in seen:
                continue
            seen.add((report.model.name, value))
            label = f"published: {value:g} s, {item.row.chip}"
            yield label, "#808080", [0.0, max(lasts)], [value, value], "dashed" if item.row.reference else "dotted"


def _figure(title: str, unit: str, curves: Sequence[Curve], shared: Any) -> Any:
    from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter
    from bokeh.models.annotations import Legend, LegendItem

    plot = plain_figure(
        title=title,
        height=280 + 22 * len(curves) * (len(curves) > 1),
        x_range=shared,
        x_axis_label="step",
        y_axis_label=unit,
        tools="xpan,xbox_zoom,xwheel_zoom,reset,save",
        active_drag="xbox_zoom",
    )
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    items = []
    for number, (label, colour, x, y, dash) in enumerate(curves):
        # Columns have names of ours: a label comes from a log and may be anything.
        source = ColumnDataSource({"x": x, "y": y})
        line = plot.line(
            "x", "y", source=source, line_color=colour, line_width=2, line_dash=dash, name=f"line-{number}"
        )
        drawn: list[Any] = [line]
        if len(x) <= FEW and dash == "solid":
            drawn.append(plot.scatter("x", "y", source=source, color=colour, size=5))
        items.append(LegendItem(label={"value": label}, renderers=drawn))
        tips = [("step", "@x{0,0}"), (unit, "@y{0.[00000]}")]
        # One tool for each curve: the tip's colour says which, and no text of the log gets into it.
        plot.add_tools(HoverTool(renderers=[line], tooltips=tips, mode="mouse", line_policy="nearest", visible=False))
    if len(items) > 1:
        legend = Legend(items=items, click_policy="hide", orientation="vertical", location="top_left", margin=0)
        plot.add_layout(legend, "below")
    return plot

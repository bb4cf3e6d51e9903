"""The plots of a page of comparisons: intervals of every program, and rounds over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.bench.statistics import geometric_mean
from builder.web.page import COLOURS, plain_figure

if TYPE_CHECKING:
    from builder.bench.report import Report, SuiteReport

__all__ = ["make_plots"]

OVERALL = "geometric mean"
LABEL = 30
"""Characters of a name in a legend: a longer one would make the plot wider than a phone."""


def make_plots(report: Report) -> dict[str, Any]:
    """Return the plots as BokehJS takes them: two for each suite."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item
    from bokeh.layouts import column

    figures = [plot for suite in report.suites for plot in (_intervals(suite), _rounds(suite))]
    layout = column(*figures, sizing_mode="stretch_width", spacing=18)
    return dict(json_item(layout, ID("plots")))


def _intervals(suite: SuiteReport) -> Any:
    """Return one line for each program and subject: the interval, and the median in it."""
    from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d
    from bokeh.models.annotations import Span

    names = [OVERALL, *reversed(list(suite.compared[0].programs))]
    low = min(found.low for each in suite.compared for found in (*each.programs.values(), each.overall))
    high = max(found.high for each in suite.compared for found in (*each.programs.values(), each.overall))
    margin = 0.05 * max(high - low, 0.02)
    plot = plain_figure(
        title=f"{suite.suite}: times as fast as {suite.subjects[0].name}",
        height=130 + (16 + 8 * len(suite.compared)) * len(names) + 22 * len(suite.compared),
        # Programs have numbers as places: a name is text, and an axis of texts would have to be made of them.
        y_range=Range1d(start=-0.7, end=len(names) - 0.3),
        x_range=Range1d(start=min(low, 1) - margin, end=max(high, 1) + margin),
        x_axis_label="times as fast",
        tools="save",
        active_drag=None,
    )
    plot.yaxis.ticker = FixedTicker(ticks=list(range(len(names))))
    plot.yaxis.major_label_overrides = dict(enumerate(names))
    plot.ygrid.visible = False
    plot.add_layout(Span(location=1, dimension="height", line_color="#808080", line_dash="dashed", line_width=1))
    parts = []
    for number, each in enumerate(suite.compared):
        found = {**each.programs, OVERALL: each.overall}
        shift = 0.3 * ((number + 0.5) / len(suite.compared) - 0.5) * (len(suite.compared) > 1) * -2
        source = ColumnDataSource(
            {
                "y": [place + shift for place in range(len(names))],
                "low": [found[name].low for name in names],
                "median": [found[name].median for name in names],
                "high": [found[name].high for name in names],
            }
        )
        colour = COLOURS[(number + 1) % len(COLOURS)]
        line = plot.segment("low", "y", "high", "y", source=source, line_color=colour, line_width=2)
        point = plot.scatter("median", "y", source=source, color=colour, size=7)
        parts.append((each.subject, [line, point]))
        tips = [("times as fast", "@median{0.000}"), ("interval", "@low{0.000} to @high{0.000}")]
        plot.add_tools(HoverTool(renderers=[point], tooltips=tips, mode="mouse", visible=False))
    _legend(plot, parts)
    return plot


def _rounds(suite: SuiteReport) -> Any:
    """Return one curve for each subject: the geometric mean of its times in each round."""
    from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter, SingleIntervalTicker

    plot = plain_figure(
        title=f"{suite.suite}: rounds",
        height=260 + 22 * len(suite.subjects),
        x_axis_label="round",
        y_axis_label="ms, geometric mean",
        tools="save",
        active_drag=None,
    )
    plot.xaxis.ticker = SingleIntervalTicker(interval=1, num_minor_ticks=0)
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[0000]")
    parts = []
    for number, subject in enumerate(suite.subjects):
        table = suite.measured.seconds[subject.name]
        means = [geometric_mean(times) * 1e3 for times in zip(*table.values(), strict=True)]
        source = ColumnDataSource({"x": list(range(1, len(means) + 1)), "y": means})
        colour = COLOURS[number % len(COLOURS)]
        line = plot.line("x", "y", source=source, line_color=colour, line_width=2)
        point = plot.scatter("x", "y", source=source, color=colour, size=6)
        parts.append((subject.name, [line, point]))
        tips = [("round", "@x"), ("ms", "@y{0,0.[0000]}")]
        plot.add_tools(HoverTool(renderers=[point], tooltips=tips, mode="mouse", visible=False))
    _legend(plot, parts)
    return plot


def _legend(plot: Any, parts: list[tuple[str, list[Any]]]) -> None:
    from bokeh.models.annotations import Legend, LegendItem

    items = [
        LegendItem(label={"value": label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"}, renderers=drawn)
        for label, drawn in parts
    ]
    legend = Legend(items=items, click_policy="hide", orientation="vertical", location="top_left", margin=0)
    plot.add_layout(legend, "below")

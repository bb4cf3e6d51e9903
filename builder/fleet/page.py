"""One page about one `build-all`: failures first, the timeline, what was shared, what was slow."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from builder.fleet.plots import make_plots
from builder.fleet.report import SHORT, Report, StageUse, image_words, summary
from builder.fleet.runs import ImageRun
from builder.fleet.words import human_seconds
from builder.web.page import fill_page

__all__ = ["render_page"]

SLOWEST = 20
NAMED = 2
"""Images that are named; of more only the count is given."""
WORDS = {"left": "not tried", "cancelled": "interrupted", "waiting": "not begun", "elsewhere": "not begun"}
MARKS = {"done": 2, "failed": 3, "left": 5, "cancelled": 5}
"""By state, the number of a colour of builder/web."""


def render_page(report: Report) -> str:
    """Return the page's text.

    Raises:
        UsageError: when Bokeh is not installed.
    """
    outcome = report.outcome
    head, *facts = summary(report)
    shown = {
        "title": head.partition(" in ")[0],
        "when": f"{human_seconds(outcome.ended - outcome.began)}, {outcome.slots} at a time",
        "stopped": outcome.stopped or ("interrupted: the same command goes on" * outcome.interrupted),
        "facts": [line for line in facts if not line.startswith("  ")],
        "failures": [_failure(image) for image in outcome.images if image.failed and image.state == "failed"],
        "images": [_image(image) for image in outcome.images],
        "drawn": any(image.began for image in outcome.images),
        "slowest": [_stage(use) for use in report.stages[:SLOWEST] if use.seconds >= 0.05],
        "shared": [_stage(use) for use in _shared(report)],
        "left_out": list(outcome.left_out.items()),
        "machine": list(report.machine.items()),
    }
    template = (files("builder.fleet") / "page.html.j2").read_text(encoding="utf-8")
    return fill_page(template, shown, make_plots(report))


def _shared(report: Report) -> list[StageUse]:
    """Return the stages that several images have, by the seconds that their being shared spares."""
    shared = [use for use in report.stages if len(use.images) > 1 and (use.whole or 0.0) >= 0.05]
    return sorted(shared, key=lambda use: -(use.whole or 0.0) * (len(use.images) - 1))


def _failure(image: ImageRun) -> dict[str, Any]:
    failed = image.failed
    return {
        "name": image.name,
        "stage": failed.stage if failed else "",
        "first": failed.first if failed else "",
        "hint": failed.hint if failed else "",
        "log": failed.log if failed else "",
        "message": failed.message if failed else "",
    }


def _image(image: ImageRun) -> dict[str, Any]:
    return {
        "name": image.name,
        "tag": image.tag,
        "state": WORDS.get(image.state, image.state),
        "tone": {"done": "good", "failed": "bad"}.get(image.state, ""),
        "mark": MARKS.get(image.state, 5),
        "time": human_seconds(image.seconds) if image.began else "",
        "stages": image_words(image),
        "note": "; ".join((image.failed.first if image.failed else image.pushed, *image.notes)).removeprefix("; "),
    }


def _stage(use: StageUse) -> dict[str, Any]:
    return {
        "name": use.name,
        "digest": use.digest[:SHORT],
        "count": len(use.images),
        "images": ", ".join(use.images) if len(use.images) <= NAMED else f"{len(use.images)} images",
        "seconds": human_seconds(use.seconds) if use.spans else "cached",
        "whole": human_seconds(use.whole) if use.whole is not None else "not known",
        "spared": human_seconds((use.whole or 0.0) * (len(use.images) - 1)),
        "tone": "bad" if use.failed else "",
    }

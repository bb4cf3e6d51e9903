"""One page about one or several images: a treemap and tables, no network, no script, no other file.

Every text is escaped by the template, those of the drawing as well, and a policy in the page lets nothing run.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from builder import __version__
from builder.footprint.measure import Footprint
from builder.footprint.report import (
    amount,
    component_rows,
    distribution_rows,
    layer_rows,
    notes,
    shared_rows,
    together_notes,
)
from builder.footprint.together import Together
from builder.footprint.treemap import HEIGHT, WIDTH, boxes, nodes_of
from builder.plan.stage import Plan
from builder.web.page import COLOURS, style

__all__ = ["render_page"]

PARTS = 60


def render_page(found: Sequence[tuple[Footprint, Plan]], shared: Together | None = None) -> str:
    """Return the page's text; `shared` is what several images are together.

    Raises:
        UsageError: when squarify is not installed.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["amount"] = amount
    template = environment.from_string(_file("page.html.j2"))
    return template.render(
        title=f"Size: {', '.join(footprint.image for footprint, _ in found)}",
        version=__version__,
        # Ours, and free of anything an image says.
        css=Markup(style() + _file("page.css")),  # noqa: S704
        width=WIDTH,
        height=HEIGHT,
        images=[_image(footprint, plan) for footprint, plan in found],
        shared=list(shared_rows(shared)) if shared else [],
        sums=list(together_notes(shared)) if shared else [],
    )


def _image(footprint: Footprint, plan: Plan) -> dict[str, Any]:
    return {
        "name": footprint.image,
        "size": footprint.size,
        "boxes": [(box, box.top % len(COLOURS)) for box in boxes(nodes_of(footprint))],
        "notes": list(notes(footprint, plan)),
        "components": list(component_rows(footprint)),
        "parts": list(distribution_rows(footprint, PARTS)),
        "layers": list(layer_rows(footprint)),
    }


def _file(name: str) -> str:
    return (files("builder.footprint") / name).read_text(encoding="utf-8")

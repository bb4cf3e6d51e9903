"""One page about one or several runs: no network, no other file. All that comes from a log or a record is escaped.

A policy in the page lets only its own two scripts run, by their hashes: text that got past the escaping would stay
text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from builder import __version__
from builder.training.gather import Report
from builder.training.plots import COLOURS, bokeh_script, make_plots
from builder.training.report import comparison_rows, environment_rows, figures, finite, heading
from builder.training.thin import MOST
from builder.training.words import clean

__all__ = ["render_page"]

LABEL = 44
MANIFEST = 48 << 10
"""Characters of a manifest; what is longer is cut and says so."""


def render_page(reports: Sequence[Report]) -> str:
    """Return the page's text.

    Raises:
        UsageError: when Bokeh is not installed.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    bokeh = bokeh_script()
    labels = list(_labels(reports))
    data, thinned = make_plots(reports, labels)
    runs = [_run(report, label, number) for number, (report, label) in enumerate(zip(reports, labels, strict=True))]
    script, css = _part("page.js"), _part("page.css") + _marks()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_part("page.html.j2"))
    # The three that are not escaped are ours or Bokeh's; the data is escaped as JSON inside a script wants it.
    return template.render(
        title=_title(reports),
        version=__version__,
        runs=runs,
        compared=any(run["rows"] for run in runs),
        thinned=thinned,
        most=MOST,
        css=Markup(css),  # noqa: S704
        bokeh=Markup(bokeh),  # noqa: S704
        script=Markup(script),  # noqa: S704
        hashes=Markup(" ".join(_hash(text) for text in (bokeh, script))),  # noqa: S704
        data=Markup(_json(data)),  # noqa: S704
    )


def _part(name: str) -> str:
    return (files("builder.training") / name).read_text(encoding="utf-8")


def _marks() -> str:
    return "".join(f".mark-{number} {{ --mark: {colour}; }}\n" for number, colour in enumerate(COLOURS))


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _json(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _title(reports: Sequence[Report]) -> str:
    titles = list(dict.fromkeys(report.model.title for report in reports))
    jobs = list(dict.fromkeys(report.setting.job for report in reports))
    return clean(f"{', '.join(titles)}: {', '.join(jobs)}" + (f", {len(reports)} runs" if len(reports) > 1 else ""))


def _labels(reports: Sequence[Report]) -> Iterator[str]:
    """Yield a short name for each run that no other has: what all names begin with is left out."""
    names = [clean(report.source.name).split("/") for report in reports]
    common = 0
    while len(names) > 1 and all(len(name) > common + 1 and name[common] == names[0][common] for name in names):
        common += 1
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        label = "/".join(name[common:])
        if len(label) > LABEL:
            label = f"…{label[-LABEL:]}"
        label = f"{number}: {label}" if label in seen else label
        seen.add(label)
        yield label


def _run(report: Report, label: str, number: int) -> dict[str, Any]:
    tones = {"slower": "bad", "worse": "bad", "faster": "good", "better": "good"}
    rows = [
        (*row, next((tone for word, tone in tones.items() if row[3].endswith(word)), ""))
        for row in comparison_rows(report)
    ]
    return {
        "label": label,
        "mark": number % len(COLOURS),
        "heading": heading(report),
        "figures": list(figures(report)),
        "failures": report.summary.failure_lines,
        "rows": rows,
        "reasons": report.comparison.reasons,
        "notes": report.notes,
        "environment": list(environment_rows(report)),
        "manifest": _manifest(report),
    }


def _manifest(report: Report) -> str:
    if not report.source.manifest:
        return ""
    text = json.dumps(finite(dict(report.source.manifest)), indent=1, ensure_ascii=False)
    return text if len(text) <= MANIFEST else f"{text[:MANIFEST]}\n… cut here; manifest.json has all of it"

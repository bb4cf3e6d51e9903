"""One page about one or several runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from builder.training.gather import Report
from builder.training.plots import make_plots
from builder.training.report import comparison_rows, environment_rows, figures, finite, heading
from builder.training.thin import MOST
from builder.training.words import clean
from builder.web.page import COLOURS, fill_page

__all__ = ["render_page"]

LABEL = 44
MANIFEST = 48 << 10
"""Characters of a manifest; what is longer is cut and says so."""


def render_page(reports: Sequence[Report]) -> str:
    """Return the page's text.

    Raises:
        UsageError: when Bokeh is not installed.
    """
    labels = list(_labels(reports))
    data, thinned = make_plots(reports, labels)
    runs = [_run(report, label, number) for number, (report, label) in enumerate(zip(reports, labels, strict=True))]
    shown = {
        "title": _title(reports),
        "runs": runs,
        "compared": any(run["rows"] for run in runs),
        "thinned": thinned,
        "most": MOST,
    }
    return fill_page((files("builder.training") / "page.html.j2").read_text(encoding="utf-8"), shown, data)


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

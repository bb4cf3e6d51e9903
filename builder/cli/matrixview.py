"""The table of `matrix`: what is built first, every image, and why some have no minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from builder.cli.inspect import print_table

if TYPE_CHECKING:
    from builder.render.matrix import Row, Runner, SharedJob

__all__ = ["print_matrix"]

REASONS = 5
"""As many reasons why there are no minutes does the table show."""


def print_matrix(rows: Sequence[Row], jobs: Sequence[SharedJob], *, tags: int, since: bool) -> None:
    """Print the images, what comes before them, and why some have no minutes.

    Args:
        rows: the images.
        jobs: what is built before.
        tags: names that the images make together.
        since: whether they are those that changed since a commit.
    """
    from builder.render.keys import SHORT

    if not rows:
        typer.echo("no image has changed" if since else "no image")
        return
    if jobs:
        builds = [
            (
                job.name,
                job.architecture,
                _label(job.runner),
                _minutes(job.minutes),
                " ".join(build.stage for build in job.builds),
            )
            for job in jobs
        ]
        print_table(builds, header=("FIRST", "ARCH", "RUNNER", "MINUTES", "STAGES"))
        typer.echo("")
    cells = [
        [row.tag, row.architecture, _label(row.runner), _minutes(row.minutes), row.recipe[:SHORT], row.change]
        for row in rows
    ]
    header = ["IMAGE", "ARCH", "RUNNER", "MINUTES", "RECIPE", "CHANGE"]
    width = len(header) if since else len(header) - 1
    print_table([each[:width] for each in cells], header=header[:width])
    typer.echo(f"\n{_number(len(rows), 'image')} of {_number(tags, 'tag')}, after {_number(len(jobs), 'shared job')}")
    for line in _unknown([*(row.no_minutes for row in rows), *(job.no_minutes for job in jobs)]):
        typer.echo(line)


def _unknown(reasons: Iterable[str]) -> Iterator[str]:
    """Yield why rows have no minutes, those of most rows first; JSON has the reason of each."""
    counted = Counter(reason for reason in reasons if reason)
    shown = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:REASONS]
    for reason, number in shown:
        yield f"no minutes for {number} of them: {reason}"
    rest = counted.total() - sum(number for _, number in shown)
    if rest:
        yield f"and for {_number(rest, 'other')}: `--format json` says why"


def _number(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _label(runner: Runner) -> str:
    return runner if isinstance(runner, str) else ",".join(runner)


def _minutes(minutes: float | None) -> str:
    return "-" if minutes is None else f"{minutes:g}"

"""How a `build-all` ends: the summary, the report, and the list of what is not there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from builder.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.engine.works import Work
    from builder.fleet.report import Report
    from builder.fleet.runs import ImageRun, Outcome

__all__ = ["end", "failures"]

AGAIN = "run the same command again: what is done is found in BuildKit's cache"


def end(works: Sequence[Work], outcome: Outcome, path: Path | None, *, quiet: bool) -> None:
    """Say and write what became of all.

    Raises:
        BuildError: naming the images that are not there; not after an interrupt, which has an end of its own.
        UsageError: when the report cannot be written.
    """
    from builder.bench.machine import describe
    from builder.cli.buildallworks import known_seconds
    from builder.fleet.report import make_report, to_data

    facts = {"engine": outcome.engine} if outcome.engine else {}
    report = make_report(outcome, known_seconds(works, outcome.architecture), {**describe(), **facts})
    if quiet:
        import msgspec

        typer.echo(msgspec.json.encode({"event": "report", **to_data(report)}).decode())
    else:
        _print(report)
    if path is not None:
        _write(path, report)
        if not quiet:
            typer.echo(f"report: {path}")
    if not outcome.interrupted:
        _raise(outcome)


def _print(report: Report) -> None:
    from builder.cli.buildallview import WORDS
    from builder.cli.inspect import print_table
    from builder.engine.text import printable
    from builder.fleet.report import image_words, summary
    from builder.fleet.words import human_seconds

    rows = [
        (
            image.name,
            WORDS.get(image.state, image.state),
            human_seconds(image.seconds) if image.began else "",
            image_words(image),
            printable(image.failed.first if image.failed else image.pushed or image.tag),
        )
        for image in report.outcome.images
    ]
    print_table(rows, header=("IMAGE", "STATE", "TIME", "STAGES", "RESULT"))
    typer.echo("")
    for image in report.outcome.images:
        for note in image.notes:
            typer.echo(f"note: {image.name}: {printable(note)}")
    for line in summary(report):
        typer.echo(line)


def _write(path: Path, report: Report) -> None:
    from builder.cli.results import write_page

    if path.suffix == ".json":
        import msgspec

        from builder.fleet.report import to_data

        text = msgspec.json.format(msgspec.json.encode(to_data(report)), indent=1).decode() + "\n"
    else:
        from builder.fleet.page import render_page

        text = render_page(report)
    write_page(path, text)


def _raise(outcome: Outcome) -> None:
    absent = [image for image in outcome.images if image.state != "done"]
    if not absent:
        return
    count = len(absent)
    message = f"{count} of {len(outcome.images)} images {'is' if count == 1 else 'are'} not there"
    if outcome.stopped:
        message = f"{outcome.stopped}; {message}"
    hint = outcome.hint or next((image.failed.hint for image in absent if image.failed and image.failed.hint), "")
    raise BuildError("\n".join((message, *failures(outcome))), hint=f"{hint}. Then {AGAIN}" if hint else AGAIN)


def failures(outcome: Outcome) -> list[str]:
    """Return the images that are not there: failed ones with stage, first line and log, then those not tried."""
    from builder.engine.text import printable

    lines: list[str] = []
    for image in outcome.images:
        if image.state == "failed":
            lines += [printable(line) for line in _failure(image)]
    for image in outcome.images:
        if image.state == "left" and not outcome.stopped:
            lines.append(printable(f"  {image.name}: not tried, {image.failed.first if image.failed else 'no reason'}"))
    left = [image.name for image in outcome.images if image.state == "left"]
    if left and outcome.stopped:
        lines.append(f"  not tried: {', '.join(left)}")
    return lines


def _failure(image: ImageRun) -> list[str]:
    failed = image.failed
    if failed is None:
        return [f"  {image.name}: failed"]
    stage = f"stage {failed.stage!r}: " if failed.stage else ""
    lines = [f"  {image.name}: {stage}{failed.first}"]
    return [*lines, f"    log: {failed.log}"] if failed.log else lines

"""`results`: what a training reached, beside what the recipe's README publishes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson

if TYPE_CHECKING:
    from builder.training.gather import Report


__all__ = ["write_page"]


@app.command()
def results(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|LOG...", help="Run folders, runs by name (MODEL/JOB/NAME or the end of it), or log files."
        ),
    ],
    model: Annotated[str, typer.Option("--model", metavar="M", help="The model whose logs these are.")] = "",
    job: Annotated[str, typer.Option("--job", metavar="J", help="The job a log is of; the first by default.")] = "",
    cards: Annotated[
        int, typer.Option("--cards", metavar="N", min=0, help="Cards a log's training had; the job's by default.")
    ] = 0,
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", min=0, help="Epochs behind the metrics, where nothing says it.")
    ] = 0,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one page with curves, for all runs together.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", metavar="DIR", help="Where runs lie; RUNS_ROOT of .env by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Summarise trainings and evaluations, and compare them with the published rows of the same global batch."""
    import os

    from builder.cli.inspect import print_json
    from builder.engine.site import find_site
    from builder.training.folder import find_run, open_log, open_run
    from builder.training.gather import Given, gather
    from builder.training.report import SCHEMA, to_data

    settings: Settings = context.obj
    given = Given(model=model, job=job, cards=cards, epochs=epochs)
    root = runs or find_site(Path.cwd(), os.environ).runs
    paths = [find_run(word, root) for word in sources]
    opened = [open_run(path) if path.is_dir() else open_log(path) for path in paths]
    reports = [gather(settings.catalog(), source, given) for source in opened]
    if html is not None:
        from builder.training.page import render_page

        write_page(html, render_page(reports))
    if as_json:
        print_json({"schema": SCHEMA, "runs": [to_data(report) for report in reports]})
        return
    for number, report in enumerate(reports):
        if number:
            typer.echo("")
        _show(report)
    if html is not None:
        typer.echo(f"\nwrote {html}")


def write_page(path: Path, text: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        UsageError: when the file cannot be written.
    """
    import os
    import tempfile

    from builder.errors import UsageError

    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            temporary = Path(file.name)
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name a file in a folder that can be written") from error
    try:
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path}: {error.strerror}", hint="name a file in a folder that can be written") from error


def _show(report: Report) -> None:
    from builder.cli.inspect import print_table
    from builder.training.report import comparison_rows, figures, heading
    from builder.training.words import clean

    typer.echo(typer.style(clean(report.source.name), bold=True))
    typer.echo(f"{heading(report)}\n")
    rows = list(figures(report))
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        typer.echo(f"  {name.ljust(width)}  {text}")
    for line in report.summary.failure_lines:
        typer.echo(f"  {''.ljust(width)}  | {line}")
    typer.echo("")
    compared = list(comparison_rows(report))
    if compared:
        print_table(compared, header=("CHIP", "BUILD", "WHAT", "VERDICT"))
    for reason in report.comparison.reasons:
        prefix = "note" if compared else "not compared"
        typer.echo(f"{prefix}: {clean(reason)}")
    for note in report.notes:
        typer.echo(f"note: {clean(note)}")

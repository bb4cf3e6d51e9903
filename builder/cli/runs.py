"""`runs`: what was run, how it ended or where it is, and its log."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson
from builder.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.engine.containers import Container, Containers
    from builder.engine.rundir import RunFolder

TAIL = 2 << 20
"""Bytes at the end of a log that are read for the last step and the metrics."""
POLL = 0.5
Where = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Where runs lie; RUNS_ROOT of .env by default.")
]
RunName = Annotated[
    str, typer.Argument(metavar="[RUN]", help="MODEL/JOB/TIME or the end of it, or a folder; the newest by default.")
]

runs = typer.Typer(no_args_is_help=True, help="List runs, show one, print its log, stop it.", rich_markup_mode=None)
app.add_typer(runs, name="runs")


@runs.command("ls")
def list_runs(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="Only this model's runs.")] = "",
    where: Where = None,
    count: Annotated[int, typer.Option("-n", metavar="N", min=1, help="The newest so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    from itertools import islice

    from builder.cli.inspect import print_json, print_table
    from builder.engine.rundir import all_runs

    live = _running()
    found = (run for run in all_runs(_root(where)) if not model or run.path.parts[-3] == model)
    rows = [_summary(run, live, context.obj) for run in islice(found, count)]
    if as_json:
        print_json({"runs": rows})
        return
    if not rows:
        typer.echo(f"no runs below {_root(where)}")
        return
    header = ("RUN", "STATUS", "TIME", "LAST")
    print_table([(row["run"], _coloured(row["status"]), row["time"], row["last"]) for row in rows], header=header)


@runs.command("show")
def show_run(context: typer.Context, name: RunName = "", where: Where = None, as_json: AsJson = False) -> None:
    """Show one run: what was started, how it ended and why."""
    import msgspec

    from builder.cli.inspect import print_json
    from builder.engine.text import printable

    run = _find(name, where)
    summary = _summary(run, _running(), context.obj)
    start, result = run.start(), run.result()
    if as_json:
        print_json(
            {**summary, "start": msgspec.to_builtins(start), "result": msgspec.to_builtins(result) if result else None}
        )
        return
    facts: list[tuple[str, str]] = [("run", run.name), ("status", summary["status"]), ("time", summary["time"])]
    if result is not None:
        facts.append(("reason", result.reason))
        facts += [("evidence", line) for line in result.evidence]
    facts += [
        ("last", summary["last"]),
        ("command", " ".join(start.command)),
        ("image", f"{start.image.reference or '?'} {start.image.digest or ''}"),
        ("platform", f"{start.platform} {start.variant or ''}"),
        ("devices", ", ".join(start.devices)),
        ("user", f"{start.uid}:{start.gid} on {start.host}" if start.host else ""),
        ("started", start.started),
        ("finished", result.finished if result else ""),
        ("folder", str(run.path)),
    ]
    for key, value in facts:
        if value.strip():
            typer.echo(f"{typer.style(f'{key:8}', bold=True)} {printable(value)[:1000]}")


@runs.command("logs")
def print_log(
    name: RunName = "",
    where: Where = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends; ends as it ended.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, help="Only the last so many lines; 0: all.")
    ] = 0,
) -> None:
    """Print a run's log."""
    run = _find(name, where)
    if not run.log.exists() and not follow:
        raise RunError(f"{run.name} has no log", hint="`drivebuild runs show` says how far it came")
    position = _print_from(run, _start_of(run, lines))
    if not follow:
        return
    while not run.ended():
        if run.name not in _running() and not run.ended():
            break
        time.sleep(POLL)
        position = _print_from(run, position)
    _print_from(run, position)
    result = run.result()
    if result is None:
        raise RunError(f"{run.name}: it runs no more and left no result", hint=f"`drivebuild runs show {run.name}`")
    if result.status != "succeeded":
        raise typer.Exit(result.exit_code or RunError.exit_code)


@runs.command("stop")
def stop_run(name: RunName = "", where: Where = None) -> None:
    """Stop a running job as Ctrl-C does; asked twice, it is killed. Its run folder stays whole."""
    import signal

    run = _find(name, where)
    found = _running().get(run.name)
    if found is None:
        raise UsageError(f"{run.name} does not run", hint="`drivebuild runs ls` lists what does")
    _containers().signal(found.name, signal.SIGINT)
    typer.echo(f"{run.name}: told to stop; `drivebuild runs logs -f {run.name}` shows its end")


# --- runs and their states -------------------------------------------------------------------------


def _root(where: Path | None) -> Path:
    from builder.engine.site import find_site

    return where.absolute() if where else find_site(Path.cwd(), os.environ).runs


def _find(name: str, where: Path | None) -> RunFolder:
    from builder.engine.rundir import RunFolder, all_runs
    from builder.training.folder import find_run

    root = _root(where)
    if not name:
        newest = next(all_runs(root), None)
        if newest is None:
            raise UsageError(f"no runs below {root}")
        return newest
    return RunFolder(find_run(name, root).absolute())


def _containers() -> Containers:
    from builder.engine.containers import Containers
    from builder.engine.host import connect

    return Containers(connect())


def _running() -> Mapping[str, Container]:
    """Return the containers of runs that run, after clearing away what ended unwatched; none without an engine."""
    from builder.engine.containers import RUN, GoneError
    from builder.engine.supervise import settle
    from builder.errors import BuildError

    try:
        containers = _containers()
        settle(containers)
        return {each.labels[RUN]: each for each in containers.of_runs() if each.running}
    except (BuildError, GoneError):
        return {}


def _summary(run: RunFolder, live: Mapping[str, Container], settings: Settings) -> dict[str, Any]:
    from builder.cli.jobview import human_duration

    result = run.result()
    seconds: float | None = None
    if result is not None:
        status: str = result.status
        seconds = result.seconds
    elif run.name in live:
        status, seconds = "running", run.seconds_since_start(time.time())
    else:
        # Killed with its container, or started by plain `docker compose run` and running still.
        status = "torn result" if run.ended() else "no result"
    return {
        "run": run.name,
        "status": status,
        "seconds": seconds,
        "time": human_duration(seconds) if seconds is not None else "",
        "exit_code": result.exit_code if result else None,
        "reason": result.reason if result else None,
        "last": _last(run, settings),
        "folder": str(run.path),
    }


def _last(run: RunFolder, settings: Settings) -> str:
    """Return the last step, loss and metrics of a run's log."""
    from builder.cli.jobview import describe
    from builder.training.progress import Progress

    model = settings.catalog().models.get(run.path.parts[-3])
    if model is None:
        return ""
    job = next((each for each in model.jobs if each.name == run.path.parts[-2]), None)
    progress = Progress(model, epochs=job.epochs if job else 0)
    # The time of arrival is not known: the end of a log in one piece says nothing about pace.
    progress.feed(run.tail(TAIL), 0.0)
    reading = progress.reading()
    import msgspec

    return describe(msgspec.structs.replace(reading, left=None))


def _coloured(status: str) -> str:
    colours = {"succeeded": "green", "running": "yellow", "interrupted": "magenta"}
    return typer.style(status.ljust(13), fg=colours.get(status, "red"))


# --- logs ------------------------------------------------------------------------------------------


def _start_of(run: RunFolder, lines: int) -> int:
    """Return the byte at which the last so many lines begin."""
    if not lines or not run.log.exists():
        return 0
    size = run.log.stat().st_size
    tail = run.tail(max(TAIL, lines * 1000))
    kept = tail.split(b"\n")[-lines - (1 if tail.endswith(b"\n") else 0) :]
    return max(0, size - len(b"\n".join(kept)))


def _print_from(run: RunFolder, position: int) -> int:
    """Write the log from a position on; return where it ended."""
    from builder.cli.jobview import harmless

    try:
        with run.log.open("rb") as file:
            file.seek(position)
            while piece := file.read(1 << 20):
                position += len(piece)
                sys.stdout.buffer.write(harmless(piece) if sys.stdout.isatty() else piece)
            sys.stdout.flush()
    except FileNotFoundError:
        return position
    except OSError as error:
        raise RunError(f"{run.log}: {error.strerror}") from error
    return position

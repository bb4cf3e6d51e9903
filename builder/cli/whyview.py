"""What `why` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from builder.fleet.words import human_seconds
from builder.training.words import clean

if TYPE_CHECKING:
    from builder.engine.snapshot import Snapshot
    from builder.engine.why import Answer, Run

__all__ = ["Other", "print_answer", "print_answer_data", "print_unknown"]

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another image that the same change reaches."""

    tag: str
    runs: tuple[Run, ...]


def _more(found: Answer, others: tuple[Other, ...]) -> tuple[Run, ...]:
    """Return what the other images run beside what this one does, each thing once."""
    done = {run.key for run in found.runs}
    more: dict[str, Run] = {}
    for other in others:
        for run in other.runs:
            if run.key not in done:
                more.setdefault(run.key, run)
    return tuple(more.values())


def print_unknown(name: str, *, as_json: bool) -> None:
    """Say that there is nothing to compare an image with, and why."""
    from builder.cli.inspect import print_json
    from builder.engine.record import read_record

    record = read_record(name)
    if as_json:
        print_json({"schema": SCHEMA, "tag": name, "record": record.when if record else None, "compared": False})
        return
    if record is None:
        typer.echo(f"{name}: no record on this machine; there is nothing to compare with")
    elif record.outcome != "done":
        typer.echo(f"{name}: no build of it has succeeded here; the last one, of {record.when}, {record.outcome}")
    else:
        typer.echo(f"{name}: its record of {record.when} is of an older drivebuild, which kept nothing to compare with")
    typer.echo("the next `drivebuild image` keeps what `why` compares")


def print_answer(
    snapshot: Snapshot, found: Answer | None, others: tuple[Other, ...], *, gone: bool, asked: bool
) -> None:
    """Print the answer for a person."""
    made = " (with --no-cache)" if snapshot.no_cache else ""
    typer.echo(f"{typer.style(snapshot.tag, bold=True)}, built {snapshot.when}{made}")
    if not asked:
        typer.echo("note: the engine does not answer; its base images count as unchanged")
    if gone:
        typer.echo("note: the engine no longer has the image; a build writes it anew")
    changes = [change for change in found.changes if not change.follows] if found else []
    if found is None or not (found.runs or changes or found.settings):
        typer.echo("nothing changed")
        return
    if changes:
        typer.echo("\nchanged since then:")
    for change in changes:
        typer.echo(f"  {clean(change.text)}")
    _print_runs(found)
    if any(run.runs for run in found.runs):
        _print_others(found, others)


def _print_runs(found: Answer) -> None:
    from builder.cli.inspect import print_table

    running = [run for run in found.runs if run.runs]
    if running:
        typer.echo(f"\n{len(running)} of {found.stages} stages run, {_cost(found)}:\n")
        print_table([_row(run) for run in running], header=("STAGE", "TOOK", "BECAUSE"))
    else:
        typer.echo("\nno stage runs" + (": labels and settings are written anew" if found.settings else ""))
    had = [run.stage for run in found.runs if not run.runs]
    if had:
        typer.echo(f"\nreached, but the builder has them from an earlier build: {', '.join(had)}")


def _print_others(found: Answer, others: tuple[Other, ...]) -> None:
    from builder.cli.inspect import print_table

    if not others:
        typer.echo("\nno other image with a record here is reached")
        return
    more = _more(found, others)
    cost = sum(run.seconds or 0.0 for run in more)
    number = f"{len(others)} other images" if len(others) > 1 else "one other image"
    typer.echo(f"\nit reaches {number}; beside what is shared with this one:\n")
    own = {run.key for run in more}
    rows = [
        (other.tag, str(len(other.runs)), ", ".join(run.stage for run in other.runs if run.key in own) or "-")
        for other in others
    ]
    print_table(rows, header=("IMAGE", "RUNS", "OF ITS OWN"))
    unknown = sorted({run.stage for run in more if run.seconds is None})
    typer.echo(
        f"\ntogether {human_seconds(cost) if cost else 'nothing'} more"
        + (f", without {', '.join(unknown)}" if unknown else "")
    )


def _cost(found: Answer) -> str:
    """Return what past builds say a build takes; what they do not say is no guess."""
    if len(found.unknown) == sum(run.runs for run in found.runs):
        return "and no build here says how long they take"
    text = f"{human_seconds(found.seconds)} by past builds"
    if found.longest < found.seconds:
        text += f" ({human_seconds(found.longest)} along the longest chain)"
    return text + (f", without {', '.join(found.unknown)}" if found.unknown else "")


def _row(run: Run) -> tuple[str, str, str]:
    took = "not known" if run.seconds is None else human_seconds(run.seconds)
    if len(run.chain) > 1:
        return run.stage, took, "← " + " ← ".join(run.chain[1:])
    return run.stage, took, clean("; ".join(run.own)) or "no build here is known to have run it"


def print_answer_data(
    snapshot: Snapshot, found: Answer | None, others: tuple[Other, ...], *, gone: bool, asked: bool
) -> None:
    """Print the answer as JSON."""
    from builder.cli.inspect import print_json

    data: dict[str, Any] = {
        "schema": SCHEMA,
        "tag": snapshot.tag,
        "record": snapshot.when,
        "compared": True,
        "engine_asked": asked,
        "image_gone": gone,
        "changed": found is not None and bool(found.runs or found.settings),
        "changes": [],
        "stages": [],
        "others": [],
    }
    if found is not None:
        changes = [change for change in found.changes if not change.follows]
        data |= {
            "changed": bool(found.runs or found.settings or changes),
            "changes": [
                {"kind": item.kind, "stage": item.stage, "text": item.text, "old": item.old, "new": item.new}
                for item in changes
            ],
            "stages": [_stage_data(run) for run in found.runs],
            "settings": found.settings,
            "seconds": round(found.seconds, 3),
            "longest_chain_seconds": round(found.longest, 3),
            "unknown": list(found.unknown),
            "others": [{"tag": other.tag, "stages": [_stage_data(run) for run in other.runs]} for other in others],
            "others_seconds": round(sum(run.seconds or 0.0 for run in _more(found, others)), 3),
        }
    print_json(data)


def _stage_data(run: Run) -> dict[str, Any]:
    return {
        "stage": run.stage,
        "runs": run.runs,
        "changed": list(run.own),
        "chain": list(run.chain),
        "seconds": run.seconds,
    }

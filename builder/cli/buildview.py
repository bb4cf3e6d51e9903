"""What a build is shown as before it starts, and when it is over."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from builder.engine.build import Choices
    from builder.engine.forecast import Forecast
    from builder.engine.record import BuildRecord
    from builder.engine.timings import Timings
    from builder.plan.stage import Plan

__all__ = ["forecast_line", "foretold_line", "print_dry_run", "print_forecast", "print_json_record", "print_record"]


def print_dry_run(plan: Plan, choices: Choices, dockerfile: str) -> None:
    """Print the stages that a build would run, and its command."""
    from builder.engine.build import build_command, target_of

    for stage in plan.closure(target_of(plan, choices.until)):
        typer.echo(stage)
    command = build_command(plan, choices, folder=Path("TEMPORARY"))
    typer.echo(
        f"\n{len(dockerfile.splitlines())} lines of Dockerfile; `drivebuild render {plan.model.name}` prints them"
    )
    typer.echo(f"\n$ {shlex.join(command)}")


def print_json_record(record: BuildRecord) -> None:
    """Print a finished build as one line of JSON."""
    import msgspec

    typer.echo(msgspec.json.encode({"event": "record", **msgspec.to_builtins(record)}).decode())


def print_record(record: BuildRecord) -> None:
    """Print a finished build for a person."""
    from builder.cli.inspect import print_table
    from builder.cli.live import human_bytes, human_seconds

    words = {"done": "run", "cached": "cached"}
    rows = [(stage.name, words.get(stage.state, stage.state), human_seconds(stage.seconds)) for stage in record.stages]
    print_table(rows, header=("STAGE", "STATE", "TIME"))
    typer.echo("")
    facts = (
        ("seconds", f"{record.seconds:.1f} ({len(record.ran)} stages run, {len(record.cached)} cached)"),
        # What was built elsewhere and pushed from there is no image of this engine.
        ("size", human_bytes(record.size_bytes) if record.size_bytes else ""),
        ("tag", record.tag if record.image_id else ""),
        ("digest", record.digest or record.image_id),
        ("forecast", forecast_line(record)),
        ("log", record.log),
    )
    for key, value in facts:
        if value:
            typer.echo(f"{typer.style(f'{key:8}', bold=True)} {value}")


def foretold_line(plan: Plan, choices: Choices, forecast: Forecast) -> str:
    """Return what a build will run, before it begins."""
    from builder.engine.timings import read_timings
    from builder.fleet.words import human_seconds

    if forecast.predicted is None:
        return "forecast: nothing is known of the builder's cache yet"
    works = sum(forecast.keys[name].works for name in forecast.stages)
    if not forecast.predicted:
        return f"forecast: none of {works} stages runs"
    timings = read_timings()
    took = [_foretold_seconds(plan, choices, forecast, name, timings) for name in forecast.predicted]
    known = [seconds for seconds in took if seconds is not None]
    text = f"forecast: {len(took)} of {works} stages run"
    text += f", {human_seconds(sum(known))} by past builds" if known else ""
    unknown = len(took) - len(known)
    text += f", without {unknown} that none has timed" if known and unknown else ""
    return f"{text}: {', '.join(forecast.predicted)}"


def _foretold_seconds(plan: Plan, choices: Choices, forecast: Forecast, name: str, timings: Timings) -> float | None:
    """Return what a stage took when it last ran; emulated for the first time, what its native time lets expect."""
    from builder.engine.foreign import SLOWER
    from builder.engine.timings import ran_on
    from builder.plan.cross import at_full_speed

    digest, platform = choices.asked.digests.get(name, ""), plan.platform.name
    where = ran_on(forecast.architecture, forecast.machine)
    known = timings.seconds(digest, platform=platform, stage=name, architecture=where)
    if known is not None or not forecast.machine:
        return known
    native = timings.seconds(digest, platform=platform, stage=name, architecture=forecast.machine)
    return native if native is None or at_full_speed(plan, name) else native * SLOWER


def print_forecast(plan: Plan, choices: Choices, forecast: Forecast, *, as_json: bool) -> None:
    """Print what a build will run, before it begins: a line, or a line of JSON."""
    import json

    if as_json:
        stages = None if forecast.predicted is None else list(forecast.predicted)
        typer.echo(json.dumps({"event": "forecast", "stages": stages}))
        return
    typer.echo(foretold_line(plan, choices, forecast))


def forecast_line(record: BuildRecord) -> str:
    """Return how what ran compares with what was said to run, in one line."""
    if record.predicted is None:
        return "none: nothing was known of the builder's cache"
    if not record.differences:
        return f"{len(record.predicted)} stages, and just those ran" if record.predicted else "nothing, and nothing ran"
    words = {"run": "ran", "cached": "did not run"}
    first, more = record.differences[0], len(record.differences) - 1
    text = f"{len(record.predicted)} stages, {len(record.executed)} ran; {first.stage} {words[first.did]}: {first.text}"
    return f"{text}, and {more} more" if more else text

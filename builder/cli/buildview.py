"""What a build is shown as before it starts, and when it is over."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from builder.engine.build import Choices
    from builder.engine.record import BuildRecord
    from builder.plan.stage import Plan

__all__ = ["print_dry_run", "print_json_record", "print_record"]


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
        ("size", human_bytes(record.size_bytes)),
        ("tag", record.tag),
        ("digest", record.digest or record.image_id),
        ("log", record.log),
    )
    for key, value in facts:
        typer.echo(f"{typer.style(f'{key:8}', bold=True)} {value}")

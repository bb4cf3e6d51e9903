"""`doctor`: what is missing on this machine, or in its network, before a build finds out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson, Platform
from builder.engine.text import printable
from builder.errors import BuildError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.cli.here import Patient
    from builder.engine.finding import Finding, State
    from builder.engine.tuning import Tuning
    from builder.plan.needs import Need
    from builder.recipe.types import System
    from builder.source.config import Config
    from builder.source.wishes import Row

SHOWN_NAMES = 3
ROOT = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One model on one platform; see builder/source/wishes.py."""

    needs: tuple[Need, ...]
    system: System
    architecture: str


@app.command()
def doctor(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Whose needs are looked at; all models' by default."),
    ] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Ask every host that the models need, through the mirrors.")
    ] = False,
    platform: Platform = "",
    root: Annotated[
        Path, typer.Option("--root", metavar="DIR", help="The host's root folder, for a drivebuild in a container.")
    ] = ROOT,
    as_json: AsJson = False,
) -> None:
    """Look whether this machine has what builds and jobs need, or with --network whether the hosts answer.

    Nothing is changed and nothing is kept; how the host is tuned for training is advice. Exit code 6 when something is
    missing here, 5 when a host that a build needs does not answer, directly or through a mirror. With MODEL, what that
    model's jobs lack is a failure, too: NPUs, a driver of the platform's table, the folders of .env.
    """
    settings: Settings = context.obj
    if network:
        _ask_hosts(settings, models or [], platform, as_json=as_json)
    else:
        _look_here(_patient(settings, models or [], platform, root), as_json=as_json)


def _patient(settings: Settings, models: list[str], platform: str, root: Path) -> Patient:
    from builder.cli.here import Patient
    from builder.plan.make import known

    config, network, catalog = settings.config(), settings.network(), settings.catalog()
    named = tuple(known(catalog.models, name, "model") for name in models)
    chosen = platform or (named[0].platform if named else "")
    return Patient(
        config=config,
        network=network,
        root=root,
        models=named or tuple(catalog.models.values()),
        platform=known(catalog.platforms, chosen, "platform") if chosen else None,
        asked=bool(named),
    )


def _look_here(patient: Patient, *, as_json: bool) -> None:
    from builder.cli.here import findings
    from builder.engine.tuning import tunings

    found = tuple(findings(patient))
    advice = tunings(patient.root)
    if as_json:
        import msgspec

        checks = [msgspec.to_builtins(finding) for finding in found]
        _print_json("checks", checks, ok=_sound(found), advice=msgspec.to_builtins(advice))
    else:
        width = max(len(finding.about) for finding in found)
        for finding in found:
            typer.echo(f"{_mark(finding.state)}  {finding.about.ljust(width)}  {printable(finding.found)}")
            if finding.advice and finding.state != "ok":
                typer.echo(f"      {' ' * width}{typer.style(printable(finding.advice), fg='cyan')}")
        _print_tunings(advice)
    if not _sound(found):
        raise typer.Exit(BuildError.exit_code)


def _print_tunings(advice: Sequence[Tuning]) -> None:
    """Print how the host is tuned for training. It is advice: it has no part in the exit code."""
    from builder.engine.tuning import KEEP, SOURCE

    typer.echo("\nadvice for training; builds need none of it, and nothing was changed")
    width = max(len(each.knob) for each in advice)
    for each in advice:
        wanted = f"; the guides say {each.wanted}" if each.state != "ok" else ""
        typer.echo(f"  {each.knob.ljust(width)}  {printable(each.found)}{wanted}")
        if each.state in ("differs", "unknown"):
            typer.echo(f"  {' ' * width}  {typer.style('# ' + each.command, fg='cyan')}")
            typer.echo(f"  {' ' * width}  {each.reason}")
    if any(each.state == "differs" for each in advice):
        typer.echo(f"  what follows # is for root; {KEEP}\n  from {SOURCE}; not measured by drivebuild")


def _ask_hosts(settings: Settings, models: list[str], platform: str, *, as_json: bool) -> None:
    from builder.engine.process import SystemRunner
    from builder.source.probe import ask_all
    from builder.source.wishes import rows, wishes

    network = settings.network()
    wanted = wishes(_sites(settings, models, platform), network)
    answers = ask_all((question for wish in wanted for question in wish.questions), network, SystemRunner())
    table = rows(wanted, answers)
    failed = [row for row in table if row.state == "FAIL"]
    if as_json:
        from dataclasses import asdict

        _print_json("hosts", [asdict(row) for row in table], ok=not failed)
    else:
        _print_rows(table)
    if failed:
        hosts = ", ".join(dict.fromkeys(row.host for row in failed))
        raise SourceError(f"not to be had from here: {hosts}", hint=_advice(failed, settings.config()))


def _sites(settings: Settings, models: list[str], platform: str) -> Iterator[Site]:
    from builder.cli.options import machine
    from builder.errors import PlanError
    from builder.plan.make import known
    from builder.plan.needs import plan_needs

    catalog = settings.catalog()
    if platform:
        known(catalog.platforms, platform, "platform")
    here = machine()
    for name in models or catalog.models:
        try:
            plan = settings.plan(name, platform=platform, variant="stock", options={})
        except PlanError:
            if models:
                raise
            # Asked for all that the platform has: this one it has not.
            continue
        architecture = here if here in plan.architectures else plan.architectures[0]
        yield Site(
            needs=plan_needs(catalog, plan, architecture),
            system=catalog.systems[plan.platform.system],
            architecture=architecture,
        )


def _print_rows(table: Sequence[Row]) -> None:
    from builder.cli.inspect import print_table

    lines = []
    for row in table:
        names = ", ".join(row.names[:SHOWN_NAMES])
        more = len(row.names) - SHOWN_NAMES
        names += f" and {more} more" if more > 0 else ""
        lines.append((row.state, row.host, row.kind, f"{row.ms} ms", row.answer, names))
    print_table(lines, header=("", "HOST", "AS", "TIME", "ANSWER", "NEEDED BY"))


def _advice(failed: Sequence[Row], config: Config) -> str:
    from builder.source.config import FILE
    from builder.source.wishes import KEYS

    keys = " and ".join(f"`{key}`" for key in dict.fromkeys(KEYS[row.kind] for row in failed))
    file = config.files[0] if config.files else FILE
    advice = f"mirrors of them go into {file}, below {keys}; a proxy into HTTPS_PROXY or `proxy` (docs/offline.md)"
    if any("certificate" in row.answer for row in failed):
        advice += "; the certificates of your proxy into `ca_bundle`"
    return advice


def _sound(findings: Sequence[Finding]) -> bool:
    return all(finding.state != "FAIL" for finding in findings)


def _mark(state: State) -> str:
    colour = {"ok": "green", "warn": "yellow", "FAIL": "red"}[state]
    return typer.style(state.ljust(4), fg=colour, bold=state == "FAIL")


def _print_json(name: str, items: list[dict[str, Any]], *, ok: bool, **more: Any) -> None:
    import json

    typer.echo(json.dumps({"ok": ok, name: items, **more}, indent=2, ensure_ascii=False))

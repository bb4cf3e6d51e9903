"""`doctor`: what is missing on this machine, or in its network, before a build finds out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson, Platform
from builder.errors import BuildError, DrivebuildError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from builder.engine.process import SystemRunner
    from builder.plan.needs import Need
    from builder.recipe.types import System
    from builder.source.config import Config
    from builder.source.network import Network
    from builder.source.wishes import Row

LOW_BYTES = 40 << 30
"""An NPU image with its build cache takes about this much."""
LEAST_BYTES = 10 << 30
SHOWN_NAMES = 3
State = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it."""

    state: State
    about: str
    found: str
    advice: str = ""


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
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Whose hosts are asked; all models by default.")
    ] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Ask every host that the models need, through the mirrors.")
    ] = False,
    platform: Platform = "",
    as_json: AsJson = False,
) -> None:
    """Look whether this machine has what builds need, or with --network whether the hosts answer.

    Nothing is changed and nothing is kept. Exit code 6 when something is missing here, 5 when a host that a build needs
    does not answer, directly or through a mirror.
    """
    settings: Settings = context.obj
    if (models or platform) and not network:
        raise UsageError("MODEL and --platform choose whose hosts are asked", hint="add --network")
    if network:
        _ask_hosts(settings, models or [], platform, as_json=as_json)
    else:
        _look_here(settings, as_json=as_json)


def _look_here(settings: Settings, *, as_json: bool) -> None:
    findings = tuple(_findings(settings.config(), settings.network()))
    if as_json:
        from dataclasses import asdict

        _print_json("checks", [asdict(finding) for finding in findings], ok=_sound(findings))
    else:
        width = max(len(finding.about) for finding in findings)
        for finding in findings:
            typer.echo(f"{_mark(finding.state)}  {finding.about.ljust(width)}  {finding.found}")
            if finding.advice and finding.state != "ok":
                typer.echo(f"      {' ' * width}{typer.style(finding.advice, fg='cyan')}")
    if not _sound(findings):
        raise typer.Exit(BuildError.exit_code)


def _findings(config: Config, network: Network) -> Iterator[Finding]:
    from builder.engine.process import SystemRunner

    runner = SystemRunner()
    yield from _engine(runner)
    yield _temporary_folder()
    yield _program(runner, ("git", "--version"), "apt-get install git", absent="FAIL")
    yield _uv(runner)
    advice = "apt-get install mmdebstrap, for platforms whose base drivebuild makes itself"
    yield _program(runner, ("mmdebstrap", "--version"), advice, absent="warn")
    yield _files(config)
    yield _store(config)
    yield _certificates(network)
    yield _proxies(network)
    yield _netrc()


def _engine(runner: SystemRunner) -> Iterator[Finding]:
    from builder.engine.host import connect, require_buildx

    try:
        facts = connect().facts()
    except BuildError as error:
        yield Finding(state="FAIL", about="engine", found=error.message, advice=error.hint)
    else:
        yield Finding(state="ok", about="engine", found=f"docker {facts.version}, {facts.architecture}")
        yield _free("disk of the engine", facts.free_bytes(), facts.root)
    try:
        yield Finding(state="ok", about="buildx", found=require_buildx(runner))
    except BuildError as error:
        yield Finding(state="FAIL", about="buildx", found=error.message, advice=error.hint)


def _free(about: str, free: int | None, where: str) -> Finding:
    from builder.cli.live import human_bytes

    if free is None:
        return Finding(
            state="warn", about=about, found="not known: the engine is on another machine, or keeps it secret"
        )
    state: State = "FAIL" if free < LEAST_BYTES else "warn" if free < LOW_BYTES else "ok"
    advice = f"an NPU image and its cache take about {human_bytes(LOW_BYTES)}; `docker builder prune` frees the cache"
    return Finding(state=state, about=about, found=f"{human_bytes(free)} free in {where}", advice=advice)


def _temporary_folder() -> Finding:
    import shutil
    import tempfile

    from builder.cli.live import human_bytes

    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(state="FAIL", about="temporary folder", found=str(error.strerror), advice="TMPDIR names another")
    # Base images are piped; only trees of patches and small files lie there.
    state: State = "ok" if free > 1 << 30 else "warn"
    found = f"{human_bytes(free)} free in {folder}"
    return Finding(state=state, about="temporary folder", found=found, advice="TMPDIR names another")


def _program(runner: SystemRunner, argv: tuple[str, ...], advice: str, *, absent: State) -> Finding:
    from builder.engine.process import CommandMissingError

    try:
        said = runner.run(argv)
    except (CommandMissingError, OSError):
        return Finding(state=absent, about=argv[0], found="not installed", advice=advice)
    words = said.text.splitlines()[0] if said.text else said.complaint[:100]
    state: State = "ok" if said.code == 0 else absent
    return Finding(state=state, about=argv[0].rpartition("/")[2], found=words, advice=advice)


def _uv(runner: SystemRunner) -> Finding:
    from builder.source.lock import find_uv

    try:
        return _program(runner, (find_uv(), "--version"), "pip install uv", absent="FAIL")
    except SourceError as error:
        # Images bring their own; the host needs it to lock and to fetch.
        return Finding(state="warn", about="uv", found=error.message, advice=f"{error.hint}, to lock and to fetch")


def _files(config: Config) -> Finding:
    files = ", ".join(map(str, config.files))
    return Finding(state="ok", about="configuration", found=files or "no file; nothing is mirrored")


def _store(config: Config) -> Finding:
    from builder.source.store import Store

    if config.store is None:
        return Finding(state="ok", about="store", found="none is configured")
    if not config.store.exists():
        advice = f"`drivebuild fetch --all --store {config.store}` makes and fills it"
        return Finding(state="warn", about="store", found=f"{config.store} is not there", advice=advice)
    try:
        entries = Store(config.store).entries()
    except DrivebuildError as error:
        return Finding(state="FAIL", about="store", found=error.message, advice=error.hint)
    return Finding(state="ok", about="store", found=f"{len(entries)} things in {config.store}")


def _certificates(network: Network) -> Finding:
    from pathlib import Path

    from builder.engine.trust import ca_bundle

    try:
        bundle = ca_bundle(Path(network.ca_bundle) if network.ca_bundle else None, os.environ)
    except UsageError as error:
        found = error.message.removeprefix("--ca-bundle ")
        return Finding(state="FAIL", about="certificates", found=found, advice="a PEM file is wanted")
    found = f"{bundle.path} goes to every build" if bundle else "none of its own; each image has its system's"
    return Finding(state="ok", about="certificates", found=found)


def _proxies(network: Network) -> Finding:
    shown = []
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        value = network.proxies.get(name, "")
        if value:
            # The name of the host alone: the rest may be a password.
            host = value.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
            shown.append(f"{name} {host}")
    return Finding(state="ok", about="proxy", found=", ".join(shown) or "none")


def _netrc() -> Finding:
    from builder.engine.secrets import netrc_file

    path: Path | None = netrc_file(os.environ)
    if path is None:
        return Finding(state="ok", about="netrc", found="none")
    if path.stat().st_mode & 0o077:
        advice = f"chmod 600 {path}"
        return Finding(state="warn", about="netrc", found=f"{path} can be read by others", advice=advice)
    return Finding(state="ok", about="netrc", found=str(path))


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
    import platform as machine

    from builder.errors import PlanError
    from builder.plan.make import known
    from builder.plan.needs import plan_needs

    catalog = settings.catalog()
    if platform:
        known(catalog.platforms, platform, "platform")
    here = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.machine(), machine.machine())
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


def _print_json(name: str, items: list[dict[str, Any]], *, ok: bool) -> None:
    import json

    typer.echo(json.dumps({"ok": ok, name: items}, indent=2, ensure_ascii=False))

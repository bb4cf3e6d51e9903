"""`fetch`: bring what builds need into a store, while there is a network."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from builder.cli.main import Settings, app
from builder.cli.options import (
    AcceptBisheng,
    AcceptCann,
    AsJson,
    Lto,
    Options,
    Pgo,
    Pins,
    Platform,
    Toolchain,
    Variant,
    accepted,
    known_architecture,
    machine,
    parse_options,
    parse_pins,
    variant_of,
)
from builder.cli.options import Architecture as Arch
from builder.cli.store import require_sound
from builder.errors import PlanError, UsageError
from builder.signals import ends_like_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import RenderableType
    from rich.live import Live

    from builder.engine.process import Runner
    from builder.plan.needs import Need
    from builder.plan.stage import Plan
    from builder.source.fetch import Fetched
    from builder.source.network import Network
    from builder.source.store import Store
    from builder.source.tally import Observer, Tally, View

HEARTBEAT = 5.0
"""Seconds between two lines where there is no terminal."""
LATE = 0.7
"""A fetch with nothing new is over before rich is even loaded."""


@app.command()
def fetch(
    context: typer.Context,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Models; see `drivebuild list`.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every model that the platform exists for.")] = False,
    platform: Platform = "",
    arch: Arch = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    option: Options = None,
    pin: Pins = None,
    toolchain: Toolchain = "",
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="The store; a new folder is made one.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, max=64, help="Downloads at a time.")] = 8,
    verify: Annotated[bool, typer.Option("--verify", help="Hash everything in the store again, afterwards.")] = False,
    accept_cann_eula: AcceptCann = False,
    accept_bisheng_eula: AcceptBisheng = False,
    no_weights: Annotated[
        bool, typer.Option("--no-weights", help="Leave out pretrained weights: no build wants them, training does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring everything that building models needs into a store. What is there already is not asked for again."""
    settings: Settings = context.obj
    plans = _plans(
        settings,
        models or [],
        every=every,
        platform=platform,
        arch=arch,
        variant=variant_of(variant, lto=lto, pgo=pgo),
        options=parse_options(option),
        pins=parse_pins(pin),
        toolchain=toolchain,
    )
    from builder.engine.process import SystemRunner
    from builder.plan.needs import WeightNeed, plan_needs

    needs = tuple(
        need
        for plan, one in plans
        for need in plan_needs(settings.catalog(), plan, one)
        if not (no_weights and isinstance(need, WeightNeed))
    )
    opened = _store(settings, store)
    done = fetch_shown(
        needs,
        opened,
        settings.network(),
        SystemRunner(),
        agreements=accepted(cann=accept_cann_eula, bisheng=accept_bisheng_eula),
        quiet=as_json,
        jobs=jobs,
    )
    if verify:
        require_sound(opened, opened.verify())
        if not as_json:
            typer.echo(f"every byte of the store {opened.root} is as it was fetched")
    _print(done, opened, as_json=as_json)


def fetch_shown(
    needs: Sequence[Need],
    store: Store,
    network: Network,
    runner: Runner,
    *,
    agreements: Collection[str] = (),
    quiet: bool = False,
    jobs: int = 8,
) -> Fetched:
    """Bring what is missing into the store, and show how far it is on standard error.

    Raises:
        SourceError: listing all that failed; what worked stays.
    """
    from builder.source.contexts import missing
    from builder.source.fetch import distribution_mirrors
    from builder.source.fetch import fetch as bring

    todo = len(missing(needs, store))
    with _watched(todo, quiet=quiet) as observer, ends_like_ctrl_c():
        return bring(
            needs,
            store,
            network,
            runner,
            accepted=agreements,
            jobs=jobs,
            mirrors=distribution_mirrors(network.distribution),
            observer=observer,
        )


def _plans(
    settings: Settings,
    models: Sequence[str],
    *,
    every: bool,
    platform: str,
    arch: str,
    variant: str,
    options: Mapping[str, str],
    pins: Mapping[str, str],
    toolchain: str,
) -> tuple[tuple[Plan, str], ...]:
    """Return the plans, each with the architecture it is for."""
    if bool(models) == every:
        raise UsageError("fetch takes models, or --all", hint="drivebuild fetch flashocc --store DIR")
    architecture = known_architecture(arch or machine())
    found, refused = [], []
    for name in settings.catalog().models if every else dict.fromkeys(models):
        try:
            plan = settings.plan(
                name,
                platform=platform,
                variant=variant,
                options=options,
                architecture=architecture,
                pinned=pins,
                toolchain=toolchain,
            )
        except PlanError as error:
            # A platform is not there for every model, and with --all nobody said that it is.
            if not every:
                raise
            refused.append(error)
        else:
            found.append((plan, architecture))
    if not found:
        raise refused[0]
    return tuple(found)


def _store(settings: Settings, named: Path | None) -> Store:
    from builder.source.store import Store

    folder = named or settings.config().store
    if folder is None:
        raise UsageError("fetch needs a store", hint="--store DIR: a new folder, or a store that is there already")
    return Store.make(folder.expanduser())


@contextmanager
def _watched(count: int, *, quiet: bool) -> Iterator[Observer | None]:
    """Yield what listens to a fetch, and show it meanwhile; nothing is shown of one that has nothing to do."""
    if not count or quiet:
        yield None
        return
    from builder.source.tally import Tally

    tally = Tally(count)
    over = threading.Event()
    show = _Bar() if sys.stderr.isatty() else _Lines()
    thread = threading.Thread(target=_show, args=(tally, show, over), daemon=True)
    thread.start()
    try:
        yield tally
    finally:
        over.set()
        thread.join()


class _Shown(Protocol):
    """Shows a view, now and then."""

    tick: float

    def show(self, view: View) -> None: ...

    def close(self) -> None: ...


def _show(tally: Tally, shown: _Shown, over: threading.Event) -> None:
    try:
        while not over.wait(shown.tick):
            shown.show(tally.view(time.monotonic()))
        shown.show(tally.view(time.monotonic()))
    finally:
        shown.close()


def _summary(view: View) -> str:
    from builder.cli.live import human_bytes, human_seconds

    parts = [f"{view.finished} of {view.things} things, {human_bytes(view.done)}"]
    if view.total > view.done:
        parts[0] += f" of {human_bytes(view.total)}" + (" and more" if view.unknown else "")
    if view.speed:
        parts.append(f"{human_bytes(int(view.speed))}/s")
    if view.left and view.running:
        parts.append(f"{human_seconds(view.left)} left")
    if view.failed:
        parts.append(f"{view.failed} failed")
    return ", ".join(parts)


class _Lines:
    """One line every few seconds: for logs."""

    def __init__(self) -> None:
        self.tick = HEARTBEAT

    def show(self, view: View) -> None:
        for line in view.news:
            typer.echo(line, err=True)
        running = "; ".join(view.running[:2]) + (f"; {len(view.running) - 2} more" if len(view.running) > 2 else "")
        if running:
            typer.echo(f"{_summary(view)}: {running}", err=True)

    def close(self) -> None:
        """Nothing to leave."""


class _Bar:
    """A bar and what is running: for terminals."""

    def __init__(self) -> None:
        self.tick = 0.2
        self._begin = time.monotonic()
        self._live: Live | None = None

    def show(self, view: View) -> None:
        if self._live is None:
            if time.monotonic() - self._begin < LATE:
                return
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, auto_refresh=False)
            self._live.start()
        for line in view.news:
            self._live.console.print(line, style="yellow", markup=False, highlight=False)
        self._live.update(self._drawn(view), refresh=True)

    @staticmethod
    def _drawn(view: View) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        bar = ProgressBar(total=max(view.total, view.done, 1), completed=view.done, width=60)
        rows = [Text(f"  {name}", style="dim", overflow="ellipsis", no_wrap=True) for name in view.running[:6]]
        return Group(Text(_summary(view)), bar, *rows)

    def close(self) -> None:
        if self._live:
            self._live.stop()


def _print(done: Fetched, store: Store, *, as_json: bool) -> None:
    from builder.cli.live import human_bytes, human_seconds

    if as_json:
        import json

        new = [
            {"key": one.key, "file": one.file, "size": one.size, "sha256": one.sha256, "origin": one.origin}
            for one in done.new
        ]
        facts = {"store": str(store.root), "there": done.there, "bytes": done.size, "seconds": round(done.seconds, 3)}
        typer.echo(json.dumps({**facts, "new": new}, indent=1))
        return
    for one in done.new:
        if one.note.startswith("without its submodules"):
            typer.echo(f"{one.file}: {one.note}")
    count = len(done.new) + done.there
    took = f" ({human_bytes(done.size)} in {human_seconds(done.seconds)})" if done.new else ""
    typer.echo(f"{count} items: {len(done.new)} new{took}, {done.there} there already")

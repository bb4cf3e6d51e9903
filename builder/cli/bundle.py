"""`bundle` and `unbundle`: what builds need in one file, carried to where there is no network."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder import paths
from builder.cli.main import Settings, app
from builder.cli.options import Architecture as Arch
from builder.cli.options import (
    Lto,
    Options,
    Pgo,
    Pins,
    Platform,
    Toolchain,
    Variant,
    known_architecture,
    machine,
    parse_options,
    parse_pins,
    variant_of,
)
from builder.errors import UsageError
from builder.signals import ends_like_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID

    from builder.plan.needs import Need
    from builder.plan.stage import Plan
    from builder.source.bundleform import Manifest

LATE = 0.7
"""A small bundle is done before rich is even loaded."""
HEARTBEAT = 10.0

StoreFolder = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="The store; by default the configuration file's.")
]
BundleFile = Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.")]


@app.command()
def bundle(
    context: typer.Context,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models; see `drivebuild list`.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The bundle to write.")],
    store: StoreFolder = None,
    platform: Platform = "",
    arch: Arch = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    option: Options = None,
    pin: Pins = None,
    toolchain: Toolchain = "",
    no_weights: Annotated[
        bool, typer.Option("--no-weights", help="Leave out pretrained weights: no build wants them, training does.")
    ] = False,
) -> None:
    """Pack everything that building the models needs into one file, to be carried to a machine without a network."""
    from builder.source.bundle import gather, write_bundle
    from builder.source.bundletext import bundle_texts, image_of
    from builder.source.catalog import read_templates
    from builder.source.store import Store

    settings: Settings = context.obj
    architecture = known_architecture(arch or machine())
    chosen, options, pins = variant_of(variant, lto=lto, pgo=pgo), parse_options(option), parse_pins(pin)
    plans = tuple(
        settings.plan(
            name,
            platform=platform,
            variant=chosen,
            options=options,
            architecture=architecture,
            pinned=pins,
            toolchain=toolchain,
        )
        for name in dict.fromkeys(models)
    )
    opened = Store(_folder(settings, store))
    folders = (paths.RECIPES, *settings.recipes)
    texts = bundle_texts(settings.catalog(), plans, read_templates(), folders=folders, architecture=architecture)
    manifest = gather(
        _needs(settings, plans, architecture, weights=not no_weights),
        opened,
        texts=texts,
        images=[image_of(plan) for plan in plans],
        architecture=architecture,
        fetch=_fetch(settings, plans, arch, opened.root, weights=not no_weights),
    )
    with closing(Meter("packed")) as meter, ends_like_ctrl_c():
        written = write_bundle(manifest, texts, opened, output, observe=meter)
    _print_manifest(manifest)
    _print_facts(
        ("bundle", str(written.path)), ("size", _bytes_of(written.size, written.content)), ("sha256", written.sha256)
    )


def _folder(settings: Settings, named: Path | None) -> Path:
    folder = named or settings.config().store
    if folder is None:
        raise UsageError("which store?", hint="--store DIR: the one that `drivebuild fetch` fills")
    return folder.expanduser()


def _needs(settings: Settings, plans: Sequence[Plan], architecture: str, *, weights: bool) -> tuple[Need, ...]:
    from builder.plan.needs import WeightNeed, plan_needs

    found = {need.key: need for plan in plans for need in plan_needs(settings.catalog(), plan, architecture)}
    return tuple(need for need in found.values() if weights or not isinstance(need, WeightNeed))


def _fetch(settings: Settings, plans: Sequence[Plan], arch: str, store: Path, *, weights: bool) -> str:
    """Return the command that gets what is missing."""
    import shlex

    words = ["drivebuild"]
    for folder in settings.recipes:
        words += ["--recipes", str(folder)]
    # The options are the same for all plans, but a plan leaves its own defaults out: the longest list has them all.
    options = max((plan.arguments[1:] for plan in plans), key=len)
    words += ["fetch", *(plan.model.name for plan in plans), *options]
    words += ["--arch", arch] if arch else []
    words += [] if weights else ["--no-weights"]
    return shlex.join([*words, "--store", str(store)])


@app.command()
def unbundle(
    context: typer.Context,
    file: BundleFile,
    store: StoreFolder = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Where the rendered files and recipes go; default: ./<FILE's name>."
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check every byte; unpack nothing.")] = False,
    any_arch: Annotated[
        bool, typer.Option("--any-arch", help="Unpack a bundle made for another architecture, to carry it on.")
    ] = False,
) -> None:
    """Check a bundle and unpack it into a store, from which `drivebuild image --offline` builds."""
    if check:
        _check(file, given=store is not None or output is not None)
        return
    from builder.source.bundleread import bundle_name
    from builder.source.store import Store
    from builder.source.unbundle import unbundle as unpack

    settings: Settings = context.obj
    target = output or Path(file.stem)
    # Before a store is made for what is no bundle.
    bundle_name(file)
    with closing(Meter("unpacked")) as meter, ends_like_ctrl_c():
        restored = unpack(
            file,
            Store.make(_folder(settings, store)),
            target,
            architecture="" if any_arch else machine(),
            observe=meter,
        )
    _print_manifest(restored.manifest)
    _print_facts(
        ("store", f"{restored.store} ({restored.objects} files of this bundle)"), ("files", str(restored.output))
    )


def _check(file: Path, *, given: bool) -> None:
    from builder.source.bundleread import check_bundle

    if given:
        raise UsageError("--check unpacks nothing; leave --store and --output out")
    with closing(Meter("checked")) as meter:
        manifest = check_bundle(file, observe=meter)
    _print_manifest(manifest)
    typer.echo(f"{file} is sound: every byte is as it was written")


def _print_manifest(manifest: Manifest) -> None:
    from builder.cli.inspect import print_table
    from builder.cli.live import human_bytes

    rows = [(image.model, image.platform, image.variant, image.tag) for image in manifest.images]
    print_table(rows, header=("MODEL", "PLATFORM", "VARIANT", "IMAGE"))
    size = human_bytes(sum(member.size for member in manifest.objects))
    typer.echo("")
    _print_facts(
        ("made by", f"drivebuild {manifest.drivebuild}"),
        ("machine", manifest.architecture),
        ("content", f"{len(manifest.objects)} files for the store, {size}; {len(manifest.texts)} files for people"),
    )


def _print_facts(*facts: tuple[str, str]) -> None:
    for key, value in facts:
        typer.echo(f"{typer.style(f'{key:8}', bold=True)} {value}")


def _bytes_of(size: int, content: int) -> str:
    from builder.cli.live import human_bytes

    return f"{human_bytes(size)}, of {human_bytes(content)} content"


class Meter:
    """Shows how far it is: a bar on a terminal, else a line now and then. Called with bytes done and in total."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._start = self._shown = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show the state, if it is time to."""
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self._shown < (0.1 if self._bar else LATE if terminal else HEARTBEAT):
            return
        self._shown = now
        if terminal:
            self._draw(done, total)
        else:
            self._say(done, total, now - self._start)

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            columns = (
                TextColumn(self._word),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._word, total=total)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def _say(self, done: int, total: int, seconds: float) -> None:
        from builder.cli.live import human_bytes, human_seconds

        speed = done / seconds
        left = human_seconds((total - done) / speed) if speed else "?"
        typer.echo(
            f"{self._word} {human_bytes(done)} of {human_bytes(total)}, {human_bytes(int(speed))}/s, {left} left",
            err=True,
        )

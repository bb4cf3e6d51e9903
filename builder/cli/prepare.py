"""`data prepare`: a model's own conversion, run in its image, gone on with where it stopped, and checked."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.data import ProgressLine, data_app, named_folder, problem_lines, site_variables
from builder.cli.main import Settings
from builder.cli.options import Lto, Pgo, Platform, Variant, variant_of
from builder.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.cli.jobview import JobView
    from builder.engine.host import Image
    from builder.engine.job import Order
    from builder.recipe.types import DataEntry, Model

JOB = "prepare-data"
ROOT = Path("/")
_DONE = re.compile(rb"(\d{1,9})/(\d{1,9})[^\d/]")
_KEPT = 400
"""Bytes of output in which a counter is looked for."""


@data_app.command()
def prepare(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Whose files are made; see `drivebuild list`.")],
    platform: Platform = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    again: Annotated[bool, typer.Option("--again", help="Remove what was made before, and make it anew.")] = False,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not look at the data set first.")] = False,
    no_build: Annotated[bool, typer.Option("--no-build", help="Stop when the image is missing.")] = False,
) -> None:
    """Run a model's own conversion of nuScenes into PREPARED_ROOT, and check what came out of it.

    What is finished is kept: a second call ends at once. What was interrupted goes on, file by file where the model has
    a file for each key frame. Folders come from .env. Exit code 7 when the data set lacks something, the conversion
    fails, or what it wrote does not fit the tables.
    """
    from builder.dataset import prepared
    from builder.dataset.needs import needs_of
    from builder.plan.make import known

    settings: Settings = context.obj
    recipe: Model = known(settings.catalog().models, model, "model")
    entries = tuple(entry for entry in recipe.data.entries if entry.generated)
    _require_conversion(recipe, entries)
    root, folder = _folders(model)
    versions = needs_of(recipe).versions
    if not no_check:
        _check_data(recipe, root)
    tables = prepared.fingerprint(root, versions)
    if not again and prepared.kept(folder, tables, entries):
        typer.echo(f"{folder}: finished before, from these tables; --again makes it anew")
        return
    before = prepared.read_stamp(folder)
    if again or (before is not None and before.tables != tables):
        if not again:
            typer.echo(f"{folder}: was made from other tables; making it anew")
        prepared.clear(folder, entries)
    prepared.write_stamp(folder, prepared.Stamp(model=model, tables=tables))
    chosen = variant_of(variant, lto=lto, pgo=pgo)
    order, image = _convert(context, settings, model, platform, chosen, no_build=no_build)
    wrong = [*_wrong_infos(order, root, folder, entries)]
    for entry in entries:
        if entry.holds == "samples":
            wrong += prepared.stray(root, versions, folder, entry)
    if wrong:
        hint = f"drivebuild data prepare {model} --again"
        raise RunError("\n  - ".join((f"{folder}: what the conversion wrote is not whole:", *wrong)), hint=hint)
    prepared.write_stamp(folder, prepared.complete(folder, model, tables, image.digest or image.id, entries))
    typer.echo(f"{folder}: complete, {len(entries)} outputs checked against the tables")


def _require_conversion(model: Model, entries: Sequence[DataEntry]) -> None:
    if any(job.name == JOB for job in model.jobs):
        return
    wanted = ", ".join(f"{entry.path} from {entry.url}" for entry in entries if entry.url)
    raise UsageError(f"{model.name} has no conversion of its own", hint=f"download {wanted}" if wanted else "")


def _folders(model: str) -> tuple[Path, Path]:
    """Return the data set's folder and the model's own for generated files, which is made."""
    variables = site_variables()
    root, prepared = named_folder(variables, "NUSCENES_ROOT"), named_folder(variables, "PREPARED_ROOT")
    if root is None or prepared is None:
        unset = " and ".join(
            name for name, value in (("NUSCENES_ROOT", root), ("PREPARED_ROOT", prepared)) if not value
        )
        raise UsageError(f"{unset}: not set", hint="copy .env.example to .env and fill it in")
    folder = prepared / model
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror}", hint="PREPARED_ROOT in .env names another folder") from error
    return root, folder


def _check_data(model: Model, root: Path) -> None:
    from builder.dataset.check import check_dataset

    with ProgressLine() as say:
        report = check_dataset(model, root, progress=say)
    if not report.ok:
        for line in problem_lines(report, errors_only=True):
            typer.echo(line)
        hint = f"`drivebuild data check {model.name}` says more; --no-check goes on all the same"
        raise RunError(f"{root}: not what {model.name} needs", hint=hint)


def _convert(
    context: typer.Context, settings: Settings, model: str, platform: str, variant: str, *, no_build: bool
) -> tuple[Order, Image]:
    from builder.cli.order import make_order
    from builder.cli.start import attend, end_as, launch_job, make_scene

    order = make_order(
        settings,
        model,
        JOB,
        platform=platform,
        variant=variant,
        runtime="",
        args=(),
        devices="",
        environment=[],
        memory="",
        host=ROOT,
    )
    scene, order = make_scene(settings, order)
    run_folder = launch_job(scene, order, context, no_build=no_build)
    result = attend(run_folder, make_view(f"{model} {JOB}"), scene.containers)
    end_as(run_folder, result)
    image = scene.engine.image(order.image)
    if image is None:
        raise RunError(f"{order.image}: the image is gone")
    return order, image


def _wrong_infos(order: Order, root: Path, folder: Path, entries: Sequence[DataEntry]) -> Iterator[str]:
    """Have the pickles read in the image: code in them may run there, without network, on nothing that it can write."""
    import json

    from builder import paths
    from builder.engine.process import SystemRunner

    pairs = [f"{entry.holds}={entry.path}" for entry in entries if entry.holds in ("train", "val", "test")]
    if not pairs:
        return
    script = (paths.TEMPLATES / "scripts/infos.py").read_text(encoding="utf-8")
    bind = "type=bind,source={},target={},readonly"
    mounts = (bind.format(root.resolve(), "/data/nuscenes"), bind.format(folder.resolve(), "/data/prepared"))
    argv = (
        *("docker", "run", "--rm", "--network", "none", "--user", f"{order.uid}:{order.gid}"),
        *(word for mount in mounts for word in ("--mount", mount)),
        *(order.image, "python", "-c", script, "/data/nuscenes", "/data/prepared", *pairs),
    )
    said = SystemRunner().run(argv)
    found = [json.loads(line[7:]) for line in said.text.splitlines() if line.startswith("infos: ")]
    for row in found:
        if row["wrong"]:
            yield f"{row['file']}: {row['wrong']}"
        else:
            typer.echo(f"{row['file']}: {row['infos']} key frames")
    if len(found) != len(pairs):
        yield f"it could not be read in {order.image}: {(said.complaint or said.text)[-300:]}"


def make_view(title: str) -> JobView:
    """Return a view that shows how far a conversion is, by the counters that it prints."""
    return BarView(title) if sys.stdout.isatty() else StepView(title)


class StepView:
    """A line for every tenth of a counter."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._tail = b""
        self._said = (0, -1)

    def feed(self, piece: bytes) -> None:
        """Look for a counter."""
        if not piece:
            return
        self._tail = (self._tail + piece)[-_KEPT:]
        found = _DONE.findall(self._tail)
        if found and 0 <= int(found[-1][0]) <= int(found[-1][1]) > 1:
            self.count(int(found[-1][0]), int(found[-1][1]))

    def count(self, done: int, of: int) -> None:
        """Show a counter."""
        step = (of, done * 10 // of)
        if step != self._said:
            self._said = step
            typer.echo(f"{self._title}: {done} of {of}")
            sys.stdout.flush()

    def say(self, text: str) -> None:
        """Print a sentence of drivebuild's own."""
        typer.echo(text, err=True)

    def close(self) -> None:
        """Nothing to leave behind."""


class BarView(StepView):
    """A bar that is drawn in place."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), transient=True)
        self._task = self._bar.add_task(title, total=None)
        self._of = 0
        self._bar.start()

    def count(self, done: int, of: int) -> None:
        """Draw the bar; another total is another part of the work."""
        if of != self._of:
            self._bar.reset(self._task, total=of)
            self._of = of
        self._bar.update(self._task, completed=done)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()

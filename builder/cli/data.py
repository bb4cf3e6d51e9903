"""`data`: is nuScenes there and whole, a small one for trying out, and what a model makes of it."""

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
    from collections.abc import Callable, Iterator, Mapping

    from builder.dataset.report import Problem, Report

__all__ = ["ProgressLine", "data_app", "named_folder", "problem_lines", "site_variables"]

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
SHOWN_SCENES = 3

data_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="nuScenes: check it, make a small one, convert it for a model."
)
app.add_typer(data_app, name="data")

Folder = Annotated[
    Path | None, typer.Argument(metavar="[DIR]", help="The data set's folder; NUSCENES_ROOT of .env by default.")
]
Versions = Annotated[
    list[str] | None,
    typer.Option("--version", metavar="V", help="v1.0-trainval, v1.0-test or v1.0-mini; may be given more than once."),
]


@data_app.command()
def check(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Whose needs are looked at; see `drivebuild list`.")],
    folder: Folder = None,
    version: Versions = None,
    prepared: Annotated[
        Path | None,
        typer.Option("--prepared", metavar="DIR", help="Generated files, one folder a model; PREPARED_ROOT of .env."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="DIR", help="Files of weights; WEIGHTS_ROOT of .env.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Open every file, and look whether it ends as its kind does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a nuScenes against what a model needs of it: tables, every file that they name, maps, labels, weights.

    Nothing is written. Exit code 7 when something that is needed is missing or broken: a run would fail. Files that the
    model's own conversion makes may be missing.
    """
    from builder.dataset.check import check_dataset
    from builder.plan.make import known

    settings: Settings = context.obj
    recipe = known(settings.catalog().models, model, "model")
    variables = site_variables()
    root = folder or named_folder(variables, "NUSCENES_ROOT")
    if root is None:
        raise UsageError("no folder is named", hint="drivebuild data check MODEL DIR, or set NUSCENES_ROOT in .env")
    prepared = prepared or named_folder(variables, "PREPARED_ROOT")
    with ProgressLine(quiet=as_json) as say:
        report = check_dataset(
            recipe,
            root,
            versions=tuple(version or ()),
            prepared=prepared / model if prepared else None,
            weights=weights or named_folder(variables, "WEIGHTS_ROOT"),
            deep=deep,
            progress=say,
        )
    if as_json:
        _print_json(report)
    else:
        for line in _lines(report):
            typer.echo(line)
    if not report.ok:
        if as_json:
            raise typer.Exit(RunError.exit_code)
        wrong = sum(1 for problem in report.problems if problem.severity == "error")
        message = f"{report.root}: not what {model} needs; {wrong} kind{'s' * (wrong > 1)} of things are wrong"
        raise RunError(message, hint="each is named above, with the download it belongs to")


@data_app.command()
def synth(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    scenes: Annotated[int, typer.Option("--scenes", metavar="N", help="Scenes of each version.")] = 4,
    samples: Annotated[int, typer.Option("--samples", metavar="N", help="Key frames of each scene.")] = 5,
    version: Versions = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed makes the same bytes.")] = 0,
) -> None:
    """Make a small nuScenes with invented content: v1.0-trainval and v1.0-test, or the versions that are named.

    It has every table, picture, point cloud, label, map and CAN bus message, so that the devkit and the models' own
    conversions read it. Nothing that is trained on it means anything.
    """
    from builder.cli.live import human_bytes
    from builder.dataset.synth import synthesize

    chosen = tuple(version or ("v1.0-trainval", "v1.0-test"))
    with ProgressLine() as say:
        made = synthesize(folder, versions=chosen, scenes=scenes, samples=samples, seed=seed, progress=say)
    typer.echo(
        f"{folder}: {made.scenes} scenes, {made.samples} key frames, {made.files} files, {human_bytes(made.bytes)}"
    )


def site_variables() -> Mapping[str, str]:
    """Return what `.env` and the environment say."""
    from builder.engine.site import find_site

    return find_site(Path.cwd(), os.environ).variables


def named_folder(variables: Mapping[str, str], name: str) -> Path | None:
    """Return the folder that a variable names, if it names one."""
    return Path(variables[name]) if variables.get(name) else None


def _print_json(report: Report) -> None:
    import msgspec

    from builder.cli.inspect import print_json

    plain: dict[str, Any] = msgspec.to_builtins(report)
    print_json({"schema": 1, "ok": report.ok, **_encodable(plain)})


def _encodable(value: Any) -> Any:
    """Return JSON values in which no name of a file is left that cannot be written as UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def _lines(report: Report) -> Iterator[str]:
    for version, rows in report.rows.items():
        scenes, samples, data = (rows.get(name, 0) for name in ("scene", "sample", "sample_data"))
        yield f"{version}: {scenes} scenes, {samples} key frames, {data} files of sensors in the tables"
    if report.synthetic:
        yield "made by `drivebuild data synth`: invented content"
    yield from problem_lines(report)
    if report.ok:
        depth = "opened" if report.deep else "looked up"
        yield f"{report.model}: all that is needed is there; {report.files} files {depth}"


def problem_lines(report: Report, *, errors_only: bool = False) -> Iterator[str]:
    """Yield what is wrong, as a user reads it."""
    from builder.engine.text import printable

    for problem in report.problems:
        if errors_only and problem.severity != "error":
            continue
        label = typer.style(f"{problem.severity}:", fg=COLOURS[problem.severity], bold=True)
        yield f"{label} {printable(_headline(problem))}"
        yield from (f"    {printable(line)}" for line in _details(problem))


def _headline(problem: Problem) -> str:
    count = f"{problem.count} " if problem.count > 1 else ""
    return f"{problem.group}: {count}{problem.what}"


def _details(problem: Problem) -> Iterator[str]:
    if problem.example and problem.example not in (problem.group, f"{problem.group}/"):
        yield f"{'for example ' if problem.count > 1 else ''}{problem.example}"
    if problem.scenes:
        more = len(problem.scenes) - SHOWN_SCENES
        rest = f" and {more} more" if more > 0 else ""
        yield f"of {', '.join(problem.scenes[:SHOWN_SCENES])}{rest}"
    if problem.download:
        yield f"download: {problem.download}"
    if problem.hint:
        yield f"hint: {problem.hint}"


class ProgressLine:
    """One line on a terminal that says what is being looked at; nothing elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = sys.stderr.isatty() and not quiet
        self._spoke = 0.0

    def __enter__(self) -> Callable[[str], None]:
        return self._say

    def __exit__(self, *_: object) -> None:
        if self._shown:
            typer.echo("\r\x1b[K", nl=False, err=True)

    def _say(self, text: str) -> None:
        now = time.monotonic()
        if self._shown and now - self._spoke > 0.1:
            self._spoke = now
            typer.echo(f"\r\x1b[K{text[:70]}", nl=False, err=True)

"""`--compile-cache`: what a build is given of earlier compiles, and what is kept of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.errors import BuildError

if TYPE_CHECKING:
    from builder.engine.build import Choices
    from builder.engine.compilecache import Folder, Helper, Server
    from builder.engine.process import Runner
    from builder.plan.stage import Plan

__all__ = ["CompileCache", "compiled_before", "parsed"]

CompileCache = Annotated[
    str,
    typer.Option(
        "--compile-cache",
        metavar="DIR|URL",
        envvar="DRIVEBUILD_COMPILE_CACHE",
        help="Compiles that builders share: a folder, or an http:// or redis:// server.",
    ),
]


def parsed(text: str, *, offline: bool, no_cache: bool) -> Folder | Server | None:
    """Return what the option names, or None where it was not given.

    Raises:
        UsageError: as `parse_compile_cache` and `open_folder`.
    """
    if not text:
        return None
    from builder.engine.compilecache import Folder, open_folder, parse_compile_cache

    cache = parse_compile_cache(text, offline=offline, no_cache=no_cache)
    if isinstance(cache, Folder):
        open_folder(cache)
    return cache


@contextmanager
def compiled_before(
    cache: Folder | Server | None, builds: Sequence[tuple[Plan, Choices]], *, runner: Runner, quiet: bool
) -> Iterator[tuple[tuple[str, Path], ...]]:
    """Bring a folder's compiles to where builds find them, and keep those of the builds, of failed ones too.

    Yields the secrets that they are to be given. That what they have compiled cannot be kept is no failure of theirs: a
    warning says so.

    Raises:
        BuildError: when a folder's compiles could not be brought in.
    """
    from builder.engine.compilecache import SECRET, Server
    from builder.engine.secrets import write_private

    helpers = _helpers(builds, runner) if cache else {}
    if cache is None or not helpers:
        yield ()
        return
    if isinstance(cache, Server):
        with tempfile.TemporaryDirectory(prefix="drivebuild-secrets-") as name:
            write_private(Path(name) / SECRET, cache.url)
            yield ((SECRET, Path(name) / SECRET),)
        return
    _bring(cache, helpers, quiet=quiet)
    try:
        yield ()
    except BuildError:
        _collect(cache, helpers, quiet=quiet)
        raise
    _collect(cache, helpers, quiet=quiet)


def _helpers(builds: Sequence[tuple[Plan, Choices]], runner: Runner) -> dict[str, Helper]:
    """Return by the id of each cache mount what fills and reads it: an image that one of its builds has anyway."""
    from builder.engine.build import target_of
    from builder.plan.compilers import compile_caches

    found: dict[str, Helper] = {}
    for plan, choices in builds:
        for mount in compile_caches(plan, target_of(plan, choices.until)):
            if mount not in found:
                found[mount] = _helper(plan, choices, runner)
    return found


def _helper(plan: Plan, choices: Choices, runner: Runner) -> Helper:
    from builder.engine.compilecache import Helper
    from builder.source.catalog import read_templates

    base = next(stage.base for stage in plan.stages if stage.base.startswith(plan.platform.base.image))
    return Helper(runner=runner, templates=read_templates(), base=base, images=choices.images)


def _bring(folder: Folder, helpers: Mapping[str, Helper], *, quiet: bool) -> None:
    from builder.engine.compilecache import bring

    for cache, helper in helpers.items():
        count = bring(folder, cache, helper)
        if not quiet:
            typer.echo(f"compile cache {folder.shown}: {count} files for {cache}")


def _collect(folder: Folder, helpers: Mapping[str, Helper], *, quiet: bool) -> None:
    from builder.engine.compilecache import collect

    for cache, helper in helpers.items():
        try:
            count = collect(folder, cache, helper)
        except BuildError as error:
            typer.echo(f"warning: {error.message}", err=True)
            if error.hint:
                typer.echo(f"hint: {error.hint}", err=True)
        else:
            if not quiet:
                typer.echo(f"compile cache {folder.shown}: {count} files more of {cache}")

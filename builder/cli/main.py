"""The command `drivebuild`: options for all commands, and the one place that turns errors into output and exit codes.

Nothing heavy is imported here: a command imports what it needs when it runs, so `--help` stays quick.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from builder import __version__
from builder.errors import DrivebuildError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.plan.stage import Plan
    from builder.recipe.types import Catalog
    from builder.source.config import Config
    from builder.source.network import Network

BUG = 70
"""EX_SOFTWARE: the exit code of an error nobody foresaw."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What the machine says of any file, and of what standard output is led to: nobody's mistake here."""

_ALONE = {"--lto": "--lto=python"}

__all__ = ["Settings", "app", "run"]


@dataclass(slots=True)
class Settings:
    """What the global options say."""

    recipes: tuple[Path, ...] = ()
    config_file: Path | None = None
    _catalog: Catalog | None = field(default=None, repr=False)
    _config: Config | None = field(default=None, repr=False)

    def config(self) -> Config:
        """Return what the configuration files say, read once."""
        if self._config is None:
            from builder.source.config import read_config

            self._config = read_config(self.config_file, os.environ, Path.cwd())
        return self._config

    def network(self) -> Network:
        """Return the site's network: mirrors, index, proxies, certificates."""
        from builder.source.network import make_network

        return make_network(self.config(), os.environ)

    def catalog(self) -> Catalog:
        """Return all recipes, read once."""
        if self._catalog is None:
            from builder.source.catalog import read_catalog

            self._catalog = read_catalog(self.recipes)
        return self._catalog

    def plan(
        self,
        model: str,
        *,
        platform: str,
        variant: str,
        options: Mapping[str, str],
        architecture: str = "",
        pinned: Mapping[str, str] | None = None,
        toolchain: str = "",
        profile: str = "",
    ) -> Plan:
        """Return the plan that a command's options name."""
        from builder.plan.make import make_plan

        return make_plan(
            self.catalog(),
            model,
            platform=platform,
            variant=variant,
            architecture=architecture,
            options=options,
            pinned=pinned,
            toolchain=toolchain,
            profile=profile,
        )


class ReportingGroup(TyperGroup):
    """Prints a DrivebuildError as a message and a hint, and exits with its code. No traceback for users."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spelled_out(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DrivebuildError as error:
            report(error)
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            # `drivebuild list | head` is no mistake. Python would complain again when it flushes at exit.
            sys.stdout = None
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except OSError as error:
            if error.errno not in _NO_ROOM:
                report_bug(error)
                raise typer.Exit(BUG) from error
            # What standard output still holds cannot be written at exit either.
            sys.stdout = None
            full = SourceError(f"cannot write {error.filename or 'what is to be said'}: {error.strerror}")
            report(full)
            raise typer.Exit(full.exit_code) from error
        except Exception as error:
            # Typer's own errors know how to show themselves; Exit and Abort are no errors.
            if isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "show"):
                raise
            report_bug(error)
            raise typer.Exit(BUG) from error


def spelled_out(args: list[str]) -> list[str]:
    """Return the words with what typer has no option for, a value that may be left out, spelled out.

    `--lto` is `--lto=python`: it was a flag before it took a value. `--update` before another option, or at the end, is
    `--update=`. What follows `--` is another program's.
    """
    end = args.index("--") if "--" in args else len(args)
    words = [_ALONE.get(word, word) for word in args[:end]]
    for at, word in enumerate(words):
        if word == "--update" and (at + 1 == len(words) or words[at + 1].startswith("-")):
            words[at] = "--update="
    return words + args[end:]


def report(error: DrivebuildError) -> None:
    """Print one error to standard error. What it quotes of a recipe, a file's name or a log steers no terminal."""
    from builder.engine.text import printable

    message = printable(error.message)
    label = typer.style("error:", fg="red", bold=True)
    typer.echo(f"{label} {message}" if "\n" not in message else f"{label}\n{message}", err=True)
    if error.hint:
        typer.echo(f"{typer.style('hint:', fg='cyan', bold=True)} {printable(error.hint)}", err=True)


def report_bug(error: Exception) -> None:
    """Print one sentence about an error nobody foresaw, and keep its traceback in a file to be sent in."""
    import tempfile
    import traceback

    told = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="drivebuild-bug-", suffix=".txt", delete=False) as file:
            file.write(f"drivebuild {__version__}: {sys.argv[1:]}\n\n{told}")
        hint = f"please report it, with {file.name}"
    except OSError:
        # Nowhere to keep it, so it is shown after all.
        hint = f"please report it, with this:\n{told}"
    report(DrivebuildError(f"a bug in drivebuild: {type(error).__name__}: {error}", hint=hint))


app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    # Plain help: rich costs more than the rest of the start-up together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Recipes, Dockerfiles and images for autonomous-driving models on Ascend NPUs.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"drivebuild {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    recipes: Annotated[
        list[Path] | None,
        typer.Option(
            "--recipes",
            metavar="DIR",
            envvar="DRIVEBUILD_RECIPES",
            help="A folder of your own recipes, laid out like builder/recipes. May be given more than once.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            envvar="DRIVEBUILD_CONFIG",
            help="A configuration file, in place of the project's drivebuild.yaml and the user's own.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that come before a command."""
    context.obj = Settings(recipes=tuple(recipes or ()), config_file=config)


def run() -> None:
    """Run the command line."""
    app()


# Each module adds its commands to `app`; they import nothing heavy at their top.
from builder.cli import (  # noqa: E402, F401
    bench,
    build,
    buildall,
    bundle,
    clean,
    data,
    diff,
    doctor,
    drift,
    explain,
    fetch,
    inspect,
    k8s,
    lock,
    matrix,
    patch,
    prepare,
    promote,
    render,
    reproduce,
    results,
    runs,
    sbom,
    sign,
    size,
    store,
    verify,
    why,
)
from builder.cli import profile as _profile  # noqa: E402, F401
from builder.cli import run as _run  # noqa: E402, F401

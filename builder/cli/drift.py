"""`drift`: a recipe beside its README as upstream has it now: what moved, and what is wrong with its shell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.driftview import Drifted, print_drift, print_drift_data
from builder.cli.main import Settings, app
from builder.cli.options import AsJson, ModelName
from builder.errors import DriftError, SourceError, UsageError

if TYPE_CHECKING:
    from builder.readme.facts import Said
    from builder.recipe.types import Model


@dataclass(frozen=True, slots=True)
class _Text:
    """A README, and what to call it."""

    text: str
    name: str


@app.command()
def drift(
    context: typer.Context,
    model: ModelName,
    commit: Annotated[
        str, typer.Option("--commit", metavar="REV", help="Compare with the README there; the newest by default.")
    ] = "",
    readme: Annotated[
        Path | None, typer.Option("--readme", metavar="FILE", help="Compare with this file: asks no git host for it.")
    ] = None,
    pinned: Annotated[
        Path | None, typer.Option("--pinned", metavar="FILE", help="The README that the recipe follows, as a file.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Take the README that the recipe follows from here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a recipe with its README as upstream has it now. Exits with 8 when the recipe is behind."""
    from builder.plan.make import known
    from builder.readme.compare import against_recipe, moved
    from builder.readme.lint import lint
    from builder.readme.recipe import recipe_has

    if commit and readme:
        raise UsageError("--commit and --readme both name the README to compare with")
    settings: Settings = context.obj
    catalog = settings.catalog()
    recipe: Model = known(catalog.models, model, "model")
    newer = _given(readme) if readme else _upstream(settings, recipe, commit or "HEAD")
    older, missing = _followed(settings, recipe, pinned, store or settings.config().store, alone=readme is not None)
    has, new = recipe_has(catalog, recipe), _said(newer)
    if not new.facts:
        # Nothing that could differ: found equal, an empty file would be praised.
        message = f"{newer.name}: says no version, command, package or result"
        raise UsageError(message, hint=f"is it the README of {recipe.name}, in Markdown?")
    old = _said(older) if older else None
    old_findings = {(item.rule, item.text) for item in lint(old.pieces)} if old else set()
    findings = lint(new.pieces)
    result = Drifted(
        model=recipe.name,
        path=recipe.readme.path,
        older=older.name if older else "",
        missing=missing,
        newer=newer.name,
        moved=moved(old, new, has) if old else against_recipe(new, has),
        findings=findings,
        fresh=frozenset(item for item in findings if old and (item.rule, item.text) not in old_findings),
    )
    if as_json:
        print_drift_data(result)
        if result.behind:
            raise typer.Exit(DriftError.exit_code)
        return
    print_drift(result)
    if result.behind:
        hint = "take over what is right, and move `readme.commit` of the recipe"
        raise DriftError(f"{recipe.name} is behind its README: {result.count}", hint=hint)


def _said(readme: _Text) -> Said:
    from builder.readme.document import read_document
    from builder.readme.facts import said_by

    return said_by(read_document(readme.text))


def _given(path: Path) -> _Text:
    from builder.readme.document import LARGEST

    try:
        # Not by the size that the disk tells: a device or a pipe has none and does not end.
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{path}: more than {LARGEST >> 10} KiB, which is no README")
        return _Text(content.decode(), str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: no text: it is not UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _upstream(settings: Settings, recipe: Model, revision: str) -> _Text:
    from builder.cli.locksources import asker_of
    from builder.readme.document import LARGEST
    from builder.recipe.types import GitSource
    from builder.source.gitfile import read_text_at

    source = settings.catalog().sources[recipe.readme.source]
    if not isinstance(source, GitSource):
        raise UsageError(f"the README of {recipe.name} is from no git repository", hint="add --readme FILE")
    found = read_text_at(source.url, revision, recipe.readme.path, asker_of(settings.network()), largest=LARGEST)
    shown = revision if revision == found.commit else f"{revision}, {found.commit[:12]}"
    return _Text(found.text, f"{shown[:12] if revision == found.commit else shown} of {found.day}")


def _followed(
    settings: Settings, recipe: Model, pinned: Path | None, store: Path | None, *, alone: bool
) -> tuple[_Text | None, str]:
    """Return the README that the recipe follows, or why it cannot be had: then the recipe alone is compared."""
    if pinned is not None:
        return _given(pinned), ""
    if store is not None:
        stored = _stored(settings, recipe, store)
        if stored is not None:
            return stored, ""
    try:
        return _upstream(settings, recipe, recipe.readme.commit), ""
    except (SourceError, UsageError) as error:
        if not alone:
            raise
        return None, error.message.partition("\n")[0]


def _stored(settings: Settings, recipe: Model, root: Path) -> _Text | None:
    """Return the README of the source's commit, which a store has; near the README's own."""
    import tempfile

    from builder.engine.process import SystemRunner
    from builder.recipe.types import GitSource
    from builder.source.gitpack import export
    from builder.source.store import Store

    source = settings.catalog().sources[recipe.readme.source]
    store = Store(root)
    entry = store.find(f"git:{source.commit}") if isinstance(source, GitSource) else None
    if entry is None or not isinstance(source, GitSource):
        return None
    with tempfile.TemporaryDirectory(prefix="drivebuild-readme-") as folder:
        tree = Path(folder) / "tree"
        export(entry, store.object(entry), tree, SystemRunner())
        path = tree / recipe.readme.path
        if not path.is_file() or path.is_symlink():
            raise SourceError(f"{root}: commit {source.commit[:12]} has no file {recipe.readme.path}")
        return _Text(_given(path).text, f"{source.commit[:12]} of the store, for {recipe.readme.commit[:12]}")

"""What was rendered at a commit, to be laid beside what is rendered now.

Recipes, locks, templates and scripts are planned as the commit has them. Where drivebuild's own code lies in the same
repository and has changed, the code of the commit does it, in a process of its own: else its changes would not be seen.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from builder import paths
from builder.errors import DrivebuildError, SourceError
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.render.dockerfile import render_dockerfile
from builder.render.keys import Digester
from builder.render.matrix import Change, Entry
from builder.render.tree import all_plans
from builder.source import asof
from builder.source.catalog import read_catalog, read_templates
from builder.source.revision import Revision, revision_of
from builder.source.runs import Runner, finished

__all__ = ["Before", "Past", "key_of", "past_of"]

_PACKAGE = paths.RECIPES.parent
_CODE = ("recipe", "plan", "render", "source/catalog.py", "errors.py", "paths.py")
"""What decides, beside recipes and templates, what a rendered file says."""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """An image as it was."""

    architectures: tuple[str, ...]
    recipe: str
    file: str
    """A digest of the Dockerfile's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """All images of a commit."""

    commit: str
    images: Mapping[str, Before] = field(default_factory=dict)
    """By `model platform variant`, as key_of has it."""
    other_code: bool = False
    """Whether they were rendered by the program of that commit."""
    lost: str = ""
    """Why nothing can be said about it; then everything counts as changed."""
    notes: tuple[str, ...] = ()

    def change(self, entry: Entry, digester: Digester, templates: Mapping[str, str]) -> Change:
        """Return what happened to an image since; '' for nothing.

        `comments`: the text of the Dockerfile, and nothing of what BuildKit reads.
        """
        if self.lost:
            return "changed"
        old = self.images.get(key_of(entry.plan))
        if old is None or entry.architecture not in old.architectures:
            return "added"
        if old.file != self._file(entry.plan, digester, templates):
            return "comments" if old.recipe == entry.digests["image"] else "changed"
        # The same text over something else that is not in it.
        return "changed" if old.recipe and old.recipe != entry.digests["image"] else ""

    def _file(self, plan: Plan, digester: Digester, templates: Mapping[str, str]) -> str:
        if not self.other_code:
            return digester.file(plan)
        return hashlib.sha256(render_dockerfile(plan, templates).encode()).hexdigest()


def key_of(plan: Plan) -> str:
    """Return what an image is known by in a Past."""
    return f"{plan.model.name} {plan.platform.name} {plan.variant}"


def past_of(
    rev: str, extra: Sequence[Path], wanted: Sequence[str], runner: Runner, *, digester: Digester | None = None
) -> Past:
    """Return what the recipes rendered at a commit: the shipped ones, and those of the user's own folders.

    The commit is one of the repository of the last folder, or of the shipped recipes where there is none. Shipped
    recipes that lie elsewhere, as those of an installed drivebuild do, are the same before and after.

    Args:
        rev: a branch, tag or commit.
        extra: the user's folders, as --recipes has them.
        wanted: keys of images that are asked for, beside those that are rendered by themselves.
        runner: what starts git.
        digester: what is known of the templates of now; where they have not changed it is not made again.

    Raises:
        SourceError: when there is no such commit, or a folder of the user's lies in another repository or in none.
    """
    revision = revision_of(extra[-1] if extra else paths.RECIPES, rev, runner)
    for folder in extra:
        if revision.inside(folder) is None:
            raise SourceError(f"{folder}: not in the repository {revision.top}", hint="--since goes by one repository")
    notes = []
    if revision.inside(paths.RECIPES) is None:
        notes.append("the shipped recipes are no part of that repository: they count as unchanged")
    with tempfile.TemporaryDirectory(prefix="drivebuild-since-") as name:
        then = _Then(revision, Path(name), tuple(extra), digester)
        other_code = then.code_differs()
        then.export(code=other_code)
        try:
            images = then.by_its_own_code(wanted) if other_code else then.by_this_code(wanted)
        except DrivebuildError as error:
            lines = error.message.strip().splitlines()
            more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 else ""
            lost = f"the recipes of {rev} cannot be read any more: {lines[0]}{more}".replace(f"{name}/", "")
            return Past(commit=revision.commit, lost=lost, notes=tuple(notes))
    return Past(commit=revision.commit, images=images, other_code=other_code, notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class _Then:
    """The files of a commit, in a folder of their own."""

    revision: Revision
    folder: Path
    extra: tuple[Path, ...]
    now: Digester | None

    def code_differs(self) -> bool:
        inside = self.revision.inside(_PACKAGE)
        return inside is not None and not self.revision.same([inside / part for part in _CODE], ".py")

    def export(self, *, code: bool) -> None:
        wanted = [*([_PACKAGE] if code else []), paths.RECIPES, paths.TEMPLATES, *self.extra]
        inside = [path for path in map(self.revision.inside, wanted) if path is not None]
        self.revision.export(inside, self.folder)

    def at(self, path: Path) -> Path:
        """Return where a path of now is, as it was then."""
        inside = self.revision.inside(path)
        return self.folder / inside if inside is not None else path

    def folders(self) -> tuple[Path, ...]:
        # A folder that was not there yet had no models.
        return tuple(folder for folder in map(self.at, self.extra) if folder.is_dir())

    def by_this_code(self, wanted: Sequence[str]) -> dict[str, Before]:
        catalog = read_catalog(self.folders(), shipped=self.at(paths.RECIPES))
        templates = read_templates(self.at(paths.TEMPLATES))
        digester = self.now if self.now and self.now.templates == templates else Digester(templates)
        plans = {key_of(plan): plan for plan in all_plans(catalog)}
        for key in wanted:
            model, platform, variant = key.split(" ")
            if key not in plans:
                try:
                    plans[key] = make_plan(catalog, model, platform=platform, variant=variant)
                except DrivebuildError:
                    # It did not exist then.
                    continue
        return {
            key: Before(
                architectures=plan.architectures, recipe=digester.digests(plan)["image"], file=digester.file(plan)
            )
            for key, plan in plans.items()
        }

    def by_its_own_code(self, wanted: Sequence[str]) -> dict[str, Before]:
        tree = self.folder / (self.revision.inside(_PACKAGE) or Path("builder")).parent
        places = (tree, self.at(paths.RECIPES), self.at(paths.TEMPLATES), *self.folders())
        # Isolated: nothing of the caller's environment, and no folder of this drivebuild, comes before the tree.
        words = (sys.executable, "-I", "-B", asof.__file__, *map(str, places))
        done = finished(self.revision.runner, words, stdin=msgspec.json.encode(wanted), program="python3")
        if done.code:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise SourceError(said[-1] if said else f"drivebuild of that commit ended with {done.code}")
        return msgspec.json.decode(done.stdout, type=dict[str, Before])

"""What changed since an image's record, told in the words of a recipe: plan, images, folders, templates, patches."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.engine.folders import cache_folder, trees_folder
from builder.engine.snapshot import Asked, KeptStage, Snapshot, kept_text, read_step_files, stages_of, step_files
from builder.plan.changes import Change, plan_changes, short
from builder.plan.stage import Plan
from builder.render.parsed import parse

__all__ = ["Question", "Told", "blocks"]

_BLANK_RUN = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An image as the recipe has it today."""

    plan: Plan
    target: str
    dockerfile: str
    asked: Asked
    templates: Mapping[str, str]
    """Texts by path."""
    contexts: Mapping[str, str] = field(default_factory=dict)
    """Words for folders that stand for stages."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    images: Mapping[str, str] = field(default_factory=dict)
    """Words for the images it stands on: today's, or those of the record where the engine could not be asked."""
    bases: Mapping[str, str] = field(default_factory=dict)


class Told:
    """Old and new side by side, to be told of."""

    def __init__(
        self,
        question: Question,
        snapshot: Snapshot,
        old_text: Mapping[str, str],
        new_text: Mapping[str, str],
        order: tuple[str, ...],
    ) -> None:
        self._question, self._snapshot = question, snapshot
        self._old_text, self._new_text, self._order = old_text, new_text, order
        inside = question.plan.closure(question.target)
        self._kept: dict[str, KeptStage] = {
            name: stage for name, stage in stages_of(question.plan).items() if name in inside
        }
        self.named = plan_changes(snapshot.stages, self._kept)
        """What differs between the plans."""

    def changes(self, images: Mapping[str, str], roots: tuple[str, ...]) -> Iterator[Change]:
        """Yield all that changed.

        Args:
            images: words for those that it stands on today.
            roots: stages in which something changed, and not only in what they need.
        """
        yield from self._beside(images)
        yield from self.named
        said = {change.stage for change in self.named if change.kind != "label"}
        for name in roots:
            if self.plan_stage(name) not in said and self._old_text.get(name) != self._new_text.get(name):
                yield self._of_text(name)
        yield from self._files({name for name in roots if name.startswith("src-")})

    def _beside(self, images: Mapping[str, str]) -> Iterator[Change]:
        """Yield what changed beside plan and text: images, folders, arguments, the network."""
        question, snapshot = self._question, self._snapshot
        for name, word in images.items():
            if name in snapshot.images and snapshot.images[name] != word:
                old, new = snapshot.bases.get(name, ""), question.bases.get(name, "")
                stage = next((each for each, kept in self._kept.items() if kept.base == name), "")
                text = f"base image {name} was made anew: {short(old)} → {short(new)}"
                yield Change(kind="base", stage=stage, text=text, old=old, new=new)
        for name in dict.fromkeys((*snapshot.contexts, *question.contexts)):
            yield from self._context(name)
        for name in dict.fromkeys((*snapshot.arguments, *question.arguments)):
            was, now = snapshot.arguments.get(name), question.arguments.get(name)
            if was != now:
                text = f"build argument {name}: {short(was)} → {short(now)}"
                yield Change(kind="argument", stage="", text=text, old=was or "", new=now or "")
        if snapshot.offline != question.offline:
            was, now = ("without" if offline else "with" for offline in (snapshot.offline, question.offline))
            yield Change(kind="network", stage="", text=f"built {was} a network, and {now} one now", old=was, new=now)

    def _context(self, name: str) -> Iterator[Change]:
        was, now = self._snapshot.contexts.get(name, ""), self._question.contexts.get(name, "")
        if was == now or not {was[:7], now[:7]} & {"folder:"}:
            return
        source = name.removeprefix("src-")
        if was[:7] == now[:7]:
            text = f"files of source {source}: the folder in its place changed"
        elif now.startswith("folder:"):
            text = f"source {source}: a local folder in place of what is pinned"
        else:
            text = f"source {source}: what is pinned, in place of {self._snapshot.notes.get(name, 'a local folder')}"
        yield Change(kind="source", stage=name, text=text, old=was, new=now)

    def _of_text(self, name: str) -> Change:
        """Return the change of a stage whose inputs are the same: of a template or a script, or of both."""
        old, new = (self._old_text.get(name, ""), self._new_text.get(name, ""))
        counts = _counted(old, new)
        changed = [
            path
            for path, digest in self._question.asked.templates.items()
            if self._snapshot.templates.get(path, digest) != digest and self._concerns(path, name, new)
        ]
        where = " and ".join(f"templates/{path}" for path in changed) or "its text"
        return Change(kind="template", stage=self.plan_stage(name), text=f"{where}, in stage {name}: {counts}")

    def _concerns(self, path: str, name: str, text: str) -> bool:
        if path.startswith("scripts/"):
            # As it is rendered, where runs of blank lines become one.
            return _BLANK_RUN.sub("\n\n", self._question.templates.get(path, "\0")) in text
        kept = self._kept.get(self.plan_stage(name))
        return path.startswith("macros/") or path == f"stages/{getattr(kept, 'template', '')}.j2"

    def _files(self, moved: set[str]) -> Iterator[Change]:
        """Yield patches and copied files whose source changed, with their lines where both texts are at hand."""
        wanted = [(stage, path) for stage, path in step_files(stages_of(self._question.plan)) if stage in moved]
        found = read_step_files(wanted, {name: folder for name in moved if (folder := self._folder(name))})
        for stage, path in dict.fromkeys(wanted):
            old, new = self._snapshot.files.get(f"{stage}:{path}"), found.get(f"{stage}:{path}")
            if old is None or (new is not None and new[0].sha256 == old.sha256):
                continue
            text = kept_text(self._snapshot.tag, old)
            what = f"file {path} of {stage.removeprefix('src-')}"
            if new is None:
                yield Change(kind="patch", stage=stage, text=f"{what}: its new text is not on this disk", follows=True)
            elif text is not None and new[0].text:
                counts = _counted(text, new[1].decode("utf-8", "replace"))
                yield Change(kind="patch", stage=stage, text=f"{what}: {counts}")
            else:
                yield Change(kind="patch", stage=stage, text=f"{what}: {old.size} → {new[0].size} bytes")

    def _folder(self, stage: str) -> Path | None:
        word = self._question.contexts.get(stage, "")
        if stage in self._question.folders:
            return self._question.folders[stage]
        commit = word.removeprefix("git:") if word.startswith("git:") else ""
        if not commit:
            item = next((each for each in self._question.plan.stages if each.name == stage), None)
            commit = str(item.inputs.get("commit", "")) if item else ""
        places = (cache_folder() / "contexts" / commit, trees_folder() / commit)
        return next((place for place in places if commit and place.is_dir()), None)

    def plan_stage(self, name: str) -> str:
        """Return the plan's stage that a stage of the text belongs to: templates may write helpers before their own."""
        names, later = set(self._question.plan.names), False
        for each in self._order:
            later = later or each == name
            if later and each in names:
                return each
        return name


def blocks(text: str) -> dict[str, str]:
    """Return the instructions of each stage, heredocs with them, comments without."""
    found: dict[str, list[str]] = {}
    name = ""
    for item in parse(text):
        if item.kind.upper() == "FROM":
            name = item.text.split()[-1]
        lines = [f"{item.kind} {item.text}", *(line for heredoc in item.heredocs for line in heredoc.lines)]
        found.setdefault(name, []).extend(lines)
    return {name: "\n".join(lines) for name, lines in found.items()}


def _counted(old: str, new: str) -> str:
    """Return how many lines were added and removed: `+1 −0 lines`."""
    matcher = difflib.SequenceMatcher(a=old.splitlines(), b=new.splitlines(), autojunk=False)
    added = removed = 0
    for word, start, end, first, last in matcher.get_opcodes():
        if word != "equal":
            removed, added = removed + end - start, added + last - first
    return f"+{added} −{removed} lines"

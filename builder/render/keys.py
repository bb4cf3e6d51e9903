"""A digest for each stage of a plan: what decides whether BuildKit has to run it. Pure.

Two stages with one digest have the same instructions over the same inputs, all the way down, whichever model or machine
asks. Comments and blank lines are left out, as BuildKit leaves them out: a reworded note of a recipe changes a
rendered file and no image. What an image is made from beside its text is in the digest, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from builder.plan.bootstrap import bootstrap_words, import_words
from builder.plan.cross import machine_image
from builder.plan.optimise import PROFILE
from builder.plan.stage import Plan, StageSpec
from builder.render.dockerfile import render_header, render_stage, spaced

__all__ = ["SHORT", "Digester", "instructions", "recipe_hash", "sharers", "stage_digests"]

SHORT = 12
"""Digits of a recipe hash where people read it."""
_HEREDOC = re.compile(r"<<(?P<dash>-?)(?P<quote>['\"]?)(?P<word>[A-Za-z_]\w*)(?P=quote)")
_FORM = "drivebuild-stage-1"
"""Stands in every digest: what changes the way they are made changes this, and so all of them at once."""


def stage_digests(plan: Plan, templates: Mapping[str, str]) -> Mapping[str, str]:
    """Return by stage the sha256, 64 hex digits, over its instructions and the digests of all that it needs.

    That of the stage `image` is the image's recipe hash. For many plans a Digester does the same in less time.
    """
    return Digester(templates).digests(plan)


def recipe_hash(plan: Plan, templates: Mapping[str, str]) -> str:
    """Return the digest of the whole image; its first SHORT digits are what is shown."""
    return stage_digests(plan, templates)["image"]


@dataclass(slots=True)
class Digester:
    """The digests of many plans: a stage that several have is rendered once."""

    templates: Mapping[str, str]
    _own: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    """The digest of a stage's instructions, by all that its template may see."""
    _whole: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    """That of its whole text: only who asks for files pays for it."""

    def digests(self, plan: Plan) -> dict[str, str]:
        """Return what `stage_digests` does."""
        found: dict[str, str] = {}
        for stage in plan.stages:
            whole = hashlib.sha256(self._of(stage))
            for extra in _beside(plan, stage):
                whole.update(b"\0input\0" + extra)
            for need in dict.fromkeys((stage.base, *stage.uses)):
                # Stages come in the order of their needs, so what is not there yet is an image.
                if need in found:
                    whole.update(f"\0{need}\0{found[need]}".encode())
            found[stage.name] = whole.hexdigest()
        return found

    def file(self, plan: Plan) -> str:
        """Return a digest of the Dockerfile's text, comments and all: two are equal where the rendered files are."""
        whole = hashlib.sha256(render_header(plan, self.templates).encode())
        for stage in plan.stages:
            key = _seen(stage)
            if key not in self._whole:
                text = spaced(render_stage(stage, self.templates))
                self._whole[key] = hashlib.sha256(text.encode()).digest()
            whole.update(self._whole[key])
        return whole.hexdigest()

    def _of(self, stage: StageSpec) -> bytes:
        key = _seen(stage)
        known = self._own.get(key)
        if known is None:
            text = f"{_FORM}\n{instructions(render_stage(stage, self.templates))}"
            known = self._own[key] = hashlib.sha256(text.encode()).digest()
        return known


def _seen(stage: StageSpec) -> bytes:
    """Return all that a stage's template may see."""
    return msgspec.json.encode((stage.name, stage.template, stage.base, stage.inputs))


def _beside(plan: Plan, stage: StageSpec) -> Iterable[bytes]:
    """Yield what a stage is made from that its text does not say."""
    base = plan.platform.base
    if base.bootstrap is not None and stage.base in (base.image, machine_image(plan.platform)):
        # Made on the spot and known by a name without digest: its recipe stands for it.
        yield msgspec.json.encode((bootstrap_words(base.bootstrap), import_words(base.bootstrap, "-", base.image)))
    if plan.profile and stage.name == PROFILE:
        yield plan.profile.encode()


def instructions(text: str) -> str:
    """Return the lines of a Dockerfile that BuildKit reads: without comments and blank lines, heredocs as they are.

    Where something only looks like a heredoc, what follows is kept: at worst a comment counts.
    """
    kept: list[str] = []
    start, end = 0, len(text)
    while start <= end:
        stop = text.find("\n", start)
        stop = end if stop < 0 else stop
        line = text[start:stop]
        bare = line.lstrip()
        if not bare or bare[0] == "#":
            start = stop + 1
            continue
        # A heredoc's body may be a thousand lines long: it is taken as one piece.
        stop = _after_heredocs(text, line, stop) if "<<" in line else stop
        kept.append(text[start:stop])
        start = stop + 1
    return "\n".join(kept)


def _after_heredocs(text: str, line: str, stop: int) -> int:
    """Return where the last line of the heredocs ends that a line begins; `stop` is where that line ends."""
    for match in _HEREDOC.finditer(line):
        word = match["word"]
        if not match["dash"]:
            # The usual kind, and the quick way.
            found = text.find(f"\n{word}\n", stop)
            if found < 0:
                return len(text)
            stop = found + 1 + len(word)
            continue
        last = re.compile(f"^\t*{word}$", re.MULTILINE).search(text, stop + 1)
        if last is None:
            return len(text)
        stop = last.end()
    return stop


def sharers(plan: Plan, others: Iterable[Plan], templates: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return for each stage of `plan` the models among `others` that have the very same stage."""
    digester = Digester(templates)
    own = digester.digests(plan)
    found: dict[str, list[str]] = {name: [] for name in own}
    for other in others:
        if other.model.name == plan.model.name:
            continue
        theirs = digester.digests(other)
        for name, digest in own.items():
            if theirs.get(name) == digest:
                found[name].append(other.model.name)
    return {name: tuple(models) for name, models in found.items()}

"""Which instruction of which stage made each layer of an image. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from builder.plan.stage import Plan, StageSpec

__all__ = ["Layer", "Made", "chain_of", "match_layers"]

BASE = ""
"""The stage of layers that were there before the first stage."""
_WITHOUT_LAYER = (
    *("ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "SHELL"),
    *("STOPSIGNAL", "USER", "VOLUME"),
)
_FLAG = re.compile(r"--(?:mount|from|chown|chmod|link|checksum|keep-git-dir|network|security)(?:=\S+)?(?=\s)")
_SHELL = re.compile(r"^RUN (?:\|\d+ .*?)?/bin/(?:ba)?sh (?:-\S+ )?(?:pipefail )?-c ", re.DOTALL)
_HEREDOC = re.compile(r"<<-?['\"]?(\w+)['\"]?")


class Made(msgspec.Struct, frozen=True):
    """One entry of an image's history, as the engine says it."""

    text: str
    size: int


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of an image, the lowest first."""

    id: str
    """The digest of its files."""
    size: int
    instruction: str
    """What made it, in the history's words; empty for a base that has none."""
    stage: str | None
    """The stage of the plan, '' for the base image, None when no stage of today's plan says this instruction."""


def chain_of(plan: Plan, target: str) -> tuple[StageSpec, ...]:
    """Return the stages that an image stands on, the last first."""
    stages = {stage.name: stage for stage in plan.stages}
    found = []
    name = target
    while name in stages:
        found.append(stages[name])
        name = stages[name].base
    return tuple(found)


def match_layers(ids: Sequence[str], history: Sequence[Made], texts: Iterable[tuple[str, str]]) -> tuple[Layer, ...]:
    """Return an image's layers, the lowest first, each with its instruction and its stage.

    Args:
        ids: digests of the layers, the lowest first.
        history: what the engine says was done, the newest first.
        texts: names and rendered texts of the stages that the image stands on, the last first.
    """
    making = _that_make_layers(history, len(ids))
    stages = _stages_of([made.text for made in making], [(name, _said(text)) for name, text in texts])
    pairs = list(zip(reversed(making), reversed(stages), strict=True))
    # A base that was imported has layers and no history, or more of the one than of the other.
    missing = len(ids) - len(pairs)
    layers = [Layer(id=each, size=0, instruction="", stage=BASE) for each in ids[: max(missing, 0)]]
    for digest, (made, stage) in zip(ids[max(missing, 0) :], pairs[max(-missing, 0) :], strict=True):
        text = made.text.removesuffix("# buildkit").strip()
        # What was imported has no instruction.
        layers.append(Layer(id=digest, size=made.size, instruction=text, stage=stage if text else BASE))
    return tuple(layers)


def _that_make_layers(history: Sequence[Made], count: int) -> list[Made]:
    """Return the entries that have a layer. The engine does not say which; an instruction's kind and its size do."""
    likely = [made for made in history if made.size or not made.text.startswith(_WITHOUT_LAYER)]
    if len(likely) <= count:
        return likely
    # Docker leaves out layers that turned out empty.
    return [made for made in likely if made.size] if sum(bool(made.size) for made in likely) == count else likely


def _stages_of(entries: Sequence[str], texts: Sequence[tuple[str, frozenset[str]]]) -> list[str | None]:
    """Return the stage of each entry, both from the newest on: the stages come in this order and none comes again."""
    found: list[str | None] = []
    at = 0
    for entry in entries:
        wanted = _plain_entry(entry)
        place = next((n for n in range(at, len(texts)) if wanted in texts[n][1]), None)
        found.append(None if place is None else texts[place][0])
        at = at if place is None else place
    # Below the last one that is known, what is not known is the base's.
    known = max((number for number, stage in enumerate(found) if stage is not None), default=len(found))
    return [BASE if number > known else stage for number, stage in enumerate(found)]


def _said(text: str) -> frozenset[str]:
    """Return a stage's instructions without what a history does not repeat: line ends, comments, some of the flags."""
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    return frozenset(map(_squeezed, "\n".join(lines).replace("\\\n", " ").split("\n"))) - {""}


def _plain_entry(text: str) -> str:
    text = _SHELL.sub("RUN ", text.removesuffix("# buildkit"))
    return _squeezed(text)


def _squeezed(text: str) -> str:
    return " ".join(_HEREDOC.sub(r"<<\1", _FLAG.sub("", text)).split())

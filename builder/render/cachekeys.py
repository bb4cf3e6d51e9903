"""What BuildKit looks up in its cache, as a key for each stage of a Dockerfile. Pure.

builder/render/keys.py says what was asked for; this says which steps an engine would run for it. BuildKit's rules, each
held by a test with a real engine (tests/docker/test_forecast.py):

- A step is looked up by its own instruction and by what it stands on, whatever stages are called. Comments, labels,
  entrypoints, secrets and the URL of a pinned source are no part of it; indentation within a RUN is.
- What a step copies from or mounts counts by its content at that path. Before a build nobody knows the content of what
  will be made anew, so a stage's key stands for it, until a build has shown that two keys gave the same bytes.
- `--network=none`, of a step or of the whole build, is part of each step that runs something.
- The files of a commit count alike whether BuildKit fetched them or a folder holds them, but for the whole of them: `/`
  of a fetched source and `/` of a folder are never equal.
- An image counts by its layers and its environment, and not by its id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.render.parsed import Instruction, parse

__all__ = ["FORM", "Given", "StageKey", "cache_keys", "images_named", "reached"]

FORM = 2
"""Of the keys: what changes the way they are made changes this, and what is known of a cache by older ones is void."""
DIGITS = 32
_WORKING = ("RUN", "COPY", "ADD", "WORKDIR")
_CONFIGURING = ("ENV", "ARG", "USER", "SHELL")
_FROM = re.compile(r"(?P<before>(?:^|[\s,=])(?:--)?from=)(?P<name>[^\s,]+)")
_GIT = re.compile(r"\S+\.git#(?P<commit>[0-9a-f]{40})(?P<folder>:\S+)?(?=\s)")
_CHECKED = re.compile(r"--checksum=\S+")
_WEB = re.compile(r"https?://\S*/(?P<file>[^/\s?#]+)(?=\s)")
_STAGE = re.compile(r"(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a build is given beside the text."""

    images: Mapping[str, str] = field(default_factory=dict)
    """A word for the content of each image that the text names; where it is missing, the name stands for it."""
    contexts: Mapping[str, str] = field(default_factory=dict)
    """By stage that a folder replaces: a word for its content. `git:<commit>` for the files of a commit."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"
    """In BuildKit's words."""
    offline: bool = False
    same: Mapping[str, str] = field(default_factory=dict)
    """Contents that builds have shown to be equal: of what a stage brings, to the one that stands for both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageKey:
    """One stage as BuildKit sees it."""

    name: str
    key: str
    """Equal keys: the same steps over the same contents. 32 hex digits."""
    own: str
    """Over its own instructions and the settings that it inherits, and over nothing else that it needs."""
    base: str
    """What it starts from, a stage or an image, by name."""
    foundation: str
    """The key of that."""
    contents: tuple[str, ...]
    """A word for each thing that it copies or mounts, in order."""
    needs: tuple[str, ...]
    """The stages it starts from, copies from or mounts, the first one first."""
    works: bool
    """Whether it has a step at all; an empty stage and a folder in a stage's place have none."""
    fetches: bool
    """Whether it is one thing out of the network: BuildKit asks for that again, and calls it no cached step."""
    handed: str
    """What it hands on beside files: variables, folder, user, shell."""
    settings: str
    """Labels, entrypoint and the like: what an image of it says of itself."""


@dataclass(slots=True)
class _Config:
    """What a stage hands on to those that start from it, beside files."""

    environment: tuple[str, ...] = ()
    folder: str = "/"
    user: str = ""
    shell: str = ""
    said: tuple[str, ...] = ()


def cache_keys(dockerfile: str, given: Given) -> dict[str, StageKey]:
    """Return the key of each stage, in the text's order."""
    return _Reader(given).read(dockerfile)


def reached(keys: Mapping[str, StageKey], target: str) -> tuple[str, ...]:
    """Return the stages that are built for `target`, in the text's order."""
    wanted, todo = set(), [target]
    while todo:
        name = todo.pop()
        if name in keys and name not in wanted:
            wanted.add(name)
            todo += keys[name].needs
    return tuple(name for name in keys if name in wanted)


def images_named(dockerfile: str) -> tuple[str, ...]:
    """Return the images that a text stands on or copies from, each once."""
    stages, found = {"scratch"}, dict[str, None]()
    for item in parse(dockerfile):
        if item.kind.upper() == "FROM":
            match = _STAGE.match(re.sub(r"^--platform=\S+\s+", "", item.text))
            names = [match["base"]] if match else []
            later = {match["name"]} if match and match["name"] else set()
        else:
            flags = " ".join(item.flags) if item.kind.upper() in ("RUN", "COPY", "ADD") else ""
            names, later = [each["name"] for each in _FROM.finditer(flags)], set()
        # A name with a variable is that of a stage for each architecture.
        found.update(dict.fromkeys(name for name in names if name not in stages and "$" not in name))
        stages |= later
    return tuple(found)


class _Reader:
    """Reads stage after stage; each needs those before it."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._found: dict[str, StageKey] = {}
        self._configs: dict[str, _Config] = {}
        self._pinned: dict[str, tuple[str, str]] = {}
        """Of stages that are one commit's files and nothing else: a word for it, and how it comes there."""

    def read(self, text: str) -> dict[str, StageKey]:
        predefined = {"TARGETARCH": self._given.architecture, "TARGETOS": "linux"}
        predefined["TARGETPLATFORM"] = f"linux/{self._given.architecture}"
        first: list[Instruction] = []
        stages: list[tuple[Instruction, list[Instruction]]] = []
        for item in parse(text):
            if item.kind.upper() == "FROM":
                stages.append((item, []))
            else:
                (stages[-1][1] if stages else first).append(item)
        for item in first:
            if item.kind.upper() == "ARG":
                name, _, default = item.text.partition("=")
                predefined[name] = self._given.arguments.get(name, default)
        for number, (start, items) in enumerate(stages):
            match = _STAGE.match(_expanded(re.sub(r"^--platform=\S+\s+", "", start.text), predefined))
            if match:
                self._stage(match["name"] or str(number), match["base"], items, predefined)
        return self._found

    def _stage(self, name: str, base: str, items: list[Instruction], predefined: Mapping[str, str]) -> None:
        if name in self._given.contexts:
            self._replaced(name, self._given.contexts[name])
            return
        config = self._inherited(base)
        foundation = self._foundation(base)
        contents: list[str] = []
        needs: dict[str, None] = {base: None} if base in self._found else {}
        texts: list[str] = [repr((config.environment, config.folder, config.user, config.shell))]
        done = 0
        for item in items:
            kind = item.kind.upper()
            texts.append(self._said(item, config, predefined, contents, needs))
            if kind in _WORKING and not (kind == "WORKDIR" and config.folder == "/"):
                done = len(texts)
        own = _digest("own", *texts[:done]) if done else ""
        key = _digest("stage", foundation, own, *contents) if done else foundation
        self._configs[name] = config
        pinned = _pin(items, base)
        if pinned:
            self._pinned[name] = pinned, "fetched"
        self._found[name] = StageKey(
            name=name,
            key=key,
            own=own,
            base=base,
            foundation=foundation,
            contents=tuple(contents),
            needs=tuple(needs),
            works=bool(done),
            fetches=base == "scratch" and [item.kind.upper() for item in items] == ["ADD"],
            handed=_digest("handed", repr((config.environment, config.folder, config.user, config.shell))),
            settings=_digest("settings", repr((config.environment, config.folder, config.user)), *config.said),
        )

    def _replaced(self, name: str, word: str) -> None:
        key = _digest("context", word)
        self._found[name] = StageKey(
            name=name,
            key=key,
            own="",
            base="",
            foundation=key,
            contents=(),
            needs=(),
            works=False,
            fetches=False,
            handed="",
            settings="",
        )
        if word.startswith("git:"):
            self._pinned[name] = f"{word} /", "folder"

    def _inherited(self, base: str) -> _Config:
        known = self._configs.get(base, _Config())
        return _Config(known.environment, known.folder, known.user, known.shell, known.said)

    def _foundation(self, base: str) -> str:
        if base in self._found:
            return self._found[base].key
        if base == "scratch":
            return _digest("image", base)
        # One for another machine is another image, under whatever name.
        return _digest("image", self._given.images.get(base, base), self._given.architecture)

    def _said(
        self,
        item: Instruction,
        config: _Config,
        predefined: Mapping[str, str],
        contents: list[str],
        needs: dict[str, None],
    ) -> str:
        """Return what counts of one instruction; take in what it sets, and what it copies or mounts."""
        kind = item.kind.upper()
        if kind in _CONFIGURING:
            return self._configured(kind, item.text, config, predefined)
        if kind == "WORKDIR":
            config.folder = item.text if item.text.startswith("/") else f"{config.folder.rstrip('/')}/{item.text}"
            return f"WORKDIR {config.folder} {config.user}"
        if kind not in _WORKING:
            config.said = (*config.said, f"{kind} {item.text}")
            return ""
        text = self._referring(item, contents, needs)
        if kind == "ADD":
            text = _GIT.sub(lambda match: f"git:{match['commit']}{match['folder'] or ''}", text)
            if _CHECKED.search(text):
                text = _WEB.sub(lambda match: f"web:{match['file']}", text)
        seen: tuple[object, ...] = (kind, text, *(heredoc.lines for heredoc in item.heredocs))
        relative = not text.split()[-1:][0].startswith("/") if text.split() else False
        if kind == "RUN":
            alone = self._given.offline or "--network=none" in item.flags
            seen += (config.environment, config.folder, config.user, config.shell, alone)
        elif "$" in text or relative:
            seen += (config.environment, config.folder)
        return repr(seen)

    def _configured(self, kind: str, text: str, config: _Config, predefined: Mapping[str, str]) -> str:
        if kind == "USER":
            config.user = text
        elif kind == "SHELL":
            config.shell = text
        elif kind == "ENV":
            config.environment = (*config.environment, f"ENV {text}")
        else:
            name, equals, default = text.partition("=")
            value = self._given.arguments.get(name, default if equals else predefined.get(name))
            if value is not None:
                config.environment = (*config.environment, f"ARG {name}={value}")
        # It counts by what the steps after it make of it.
        return ""

    def _referring(self, item: Instruction, contents: list[str], needs: dict[str, None]) -> str:
        """Return the text without names of stages; what it takes from them goes to `contents`."""

        def content(match: re.Match[str], path: str) -> str:
            name = match["name"]
            if name in self._found:
                needs[name] = None
            contents.append(self._content(name, path))
            return f"{match['before']}?"

        if item.kind.upper() == "RUN":
            words = [
                _FROM.sub(lambda match, flag=flag: content(match, _mounted(flag)), flag)  # type: ignore[misc]
                for flag in item.flags
                if flag != "--network=none"
            ]
            return " ".join([*words, item.body])
        paths = " ".join(item.body.split()[:-1])
        return _FROM.sub(lambda match: content(match, paths), item.text, count=1)

    def _content(self, name: str, path: str) -> str:
        if name in self._pinned:
            pinned, how = self._pinned[name]
            word = _digest("pinned", pinned, how if "/" in path.split() else "", path)
        elif name in self._found:
            word = _digest("content", self._found[name].key, path)
        else:
            word = _digest("content", self._given.images.get(name, name), path)
        return self._given.same.get(word, word)


def _pin(items: list[Instruction], base: str) -> str:
    """Return a word for what a stage holds that is a commit's files and nothing else."""
    if base != "scratch" or [item.kind.upper() for item in items] != ["ADD"]:
        return ""
    words = items[0].text.split()
    match = re.fullmatch(r"\S+\.git#([0-9a-f]{40})", words[0])
    return f"git:{match[1]} {words[1]}" if match and len(words) == 2 else ""  # what, where


def _mounted(flag: str) -> str:
    match = re.search(r"(?:[=,])(?:source|src)=([^,\s]+)", flag)
    return match[1] if match else "/"


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGITS]

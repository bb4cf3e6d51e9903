"""Try all steps of recipes on the files of a store, without an engine, by the very code that the builds run.

Only files that a step touches are written, to a temporary folder. A step that does not fit does not end the check: what
depends on the same files is not tried, everything else is.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any, Literal

from builder.errors import SourceError
from builder.paths import TEMPLATES
from builder.recipe.types import Copy, Edit, GitSource, Patch, Remove, Step
from builder.source.patchfiles import Node, Packs, read_archive, write_node
from builder.source.patchplan import Checks, Target, joined, sources_of, step_text, store_key, touched
from builder.source.runs import Runner
from builder.source.store import Entry, Store

__all__ = ["Found", "Report", "check"]

MEMORY = Path("/dev/shm")
_UNKNOWN = ""
"""The path of a patch that cannot be read: it may touch everything."""

Nodes = Mapping[str, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A step that does not fit, or was not tried because an earlier one did not."""

    state: Literal["misfit", "taken", "not tried"]
    """`taken`: the patch is in the files already; upstream has it, or an earlier step."""
    users: tuple[str, ...]
    where: str
    step: str
    upstream: str
    message: str
    misses: tuple[Mapping[str, Any], ...] = ()
    """Each place: file, hunk, its @@ line, the lines expected and those found, and the number of the first of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found."""

    steps: Mapping[str, int]
    """How many steps there are, by kind."""
    files: int
    """How many files were looked at."""
    found: tuple[Found, ...]
    patched: Mapping[tuple[str, str], tuple[str, ...]]
    """The paths in each patch, by its source and its own path."""


def check(checks: Checks, store: Store, cache: Path, runner: Runner) -> Report:
    """Apply all steps of all targets; `cache` keeps indexes of packs.

    Raises:
        SourceError: naming all sources that the store lacks, or for one that cannot be read.
    """
    entries = _entries(checks, store)
    with tempfile.TemporaryDirectory(prefix="drivebuild-patch-check-", dir=_memory()) as name:
        # Messages name it, and git resolves links: the name must be the real one.
        scratch = Path(name).resolve()
        work = _Work(checks, store, entries, scratch)
        work.prepare(Packs(scratch, cache, runner))
        found = [item for target in checks.targets for item in work.apply(target)]
        steps = Counter(type(step).__name__.lower() for target in checks.targets for step in target.steps)
        return Report(steps=dict(steps), files=work.files, found=tuple(found), patched=work.patched)


def _entries(checks: Checks, store: Store) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    missing: list[str] = []
    for name in sources_of(checks.targets):
        key = store_key(checks.sources[name])
        entry = store.find(key)
        if entry:
            entries[name] = entry
        else:
            missing.append(f"  {name}: {key}")
    if missing:
        lines = "\n".join(missing)
        hint = "`drivebuild fetch` gets them; --platform P checks less, --pin NAME=COMMIT another commit"
        raise SourceError(f"{store.root}: {len(missing)} sources are not in the store\n{lines}", hint=hint)
    return entries


def _memory() -> Path | None:
    """Return where temporary files are quick, unless the caller has said where they go."""
    return MEMORY if not os.environ.get("TMPDIR") and os.access(MEMORY, os.W_OK | os.X_OK) else None


class _Loader(SourceFileLoader):
    """Leaves no compiled file beside the templates: that folder may be somebody else's."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """See SourceFileLoader."""


def _strictly() -> Any:
    """Return the module that every Dockerfile runs."""
    path = TEMPLATES / "scripts" / "strict_apply.py"
    spec = spec_from_loader("strict_apply", _Loader("strict_apply", str(path)))
    if spec is None or spec.loader is None:
        raise SourceError(f"{path} cannot be loaded")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(slots=True)
class _State:
    """A target while it is worked on."""

    root: Path
    demands: set[str] = field(default_factory=set)
    """The paths that its steps and those of others look at."""
    broken: dict[str, str] = field(default_factory=dict)
    """What a step that does not fit leaves uncertain, with that step's name."""

    def blame(self, paths: Iterable[str]) -> str:
        """Return the step that left one of these paths uncertain, or nothing."""
        return next((step for path in paths for one, step in self.broken.items() if _related(path, one)), "")


class _Work:
    """One check: a folder with the files of patches and copies, and one for each target."""

    def __init__(self, checks: Checks, store: Store, entries: Mapping[str, Entry], scratch: Path) -> None:
        self._checks, self._store, self._entries, self._scratch = checks, store, entries, scratch
        self._strict = _strictly()
        self.patched: dict[tuple[str, str], tuple[str, ...]] = {}
        self._contents: dict[str, Nodes] = {}
        self._states = {
            id(target): _State(scratch / "trees" / str(number)) for number, target in enumerate(checks.targets)
        }

    @property
    def files(self) -> int:
        """How many files were looked at."""
        return sum(node.kind == "file" for nodes in self._contents.values() for node in nodes.values())

    def prepare(self, packs: Packs) -> None:
        """Read all that the steps look at: patches first, because they say which files that is."""
        for name, entry in self._entries.items():
            if isinstance(self._checks.sources[name], GitSource):
                packs.add(self._store.object(entry), entry.sha256)
        patches = {step for target in self._checks.targets for step in _patches(target)}
        self._read(patches, packs)
        for source, path in patches:
            self.patched[source, path] = self._paths_in(source, path)
        wanted: set[tuple[str, str]] = set()
        for target in reversed(self._checks.targets):
            wanted |= self._demands(target)
        self._read(wanted, packs)

    def _read(self, wanted: Iterable[tuple[str, str]], packs: Packs) -> None:
        """Read paths of sources, and write them where the builds have sources mounted."""
        by_source: dict[str, set[str]] = {}
        for name, path in wanted:
            if path and not path.startswith(("../", "/")):
                by_source.setdefault(name, set()).add(path)
        commits: dict[str, set[str]] = {}
        for name, paths in by_source.items():
            source = self._checks.sources[name]
            if isinstance(source, GitSource):
                commits.setdefault(source.commit, set()).update(paths)
        answers: dict[str, dict[str, Node]] = packs.read(commits)
        for name, paths in by_source.items():
            source = self._checks.sources[name]
            if isinstance(source, GitSource):
                nodes = answers[source.commit]
            else:
                nodes = read_archive(self._store.object(self._entries[name]), name, paths)
            self._contents[name] = {**self._contents.get(name, {}), **nodes}

    def _paths_in(self, source: str, path: str) -> tuple[str, ...]:
        file = self._mounted(source, path)
        try:
            parts = self._strict.read_patch(str(file))
        except self._strict.Misfit:
            return (_UNKNOWN,)
        return tuple({name: None for part in parts for name in (part.old, part.new)})

    def _mounted(self, source: str, path: str) -> Path:
        """Return where a source's file or folder is, as the builds have it; it is written when first asked for."""
        root = self._scratch / "sources" / f"src-{source}"
        nodes = {name: node for name, node in self._contents.get(source, {}).items() if _related(name, path)}
        _write(root, nodes)
        return root / path

    def _demands(self, target: Target) -> set[tuple[str, str]]:
        """Work out backwards what a target's steps look at; return what that is in sources, by source and path."""
        state, wanted = self._states[id(target)], set[tuple[str, str]]()
        demands = state.demands
        for step in reversed(target.steps):
            if isinstance(step, Copy):
                for path in _behind(step, demands):
                    if step.source:
                        wanted.add((step.source, path))
                    else:
                        self._states[id(target.own or target)].demands.add(path)
            demands.update(touched(target, step, self.patched))
        for layer in target.layers:
            inner = {_below(path, layer.directory) for path in demands} - {""}
            if layer.target:
                self._states[id(layer.target)].demands.update(inner)
            else:
                wanted.update((layer.source, path) for path in inner)
        return wanted

    def apply(self, target: Target) -> list[Found]:
        """Apply the steps of a target; return those that do not fit."""
        state = self._states[id(target)]
        self._lay(target, state)
        found: list[Found] = []
        for step in target.steps:
            changed = touched(target, step, self.patched)
            blame = state.blame(changed) or self._blame_own(target, step)
            miss = self._try(target, state.root, step) if not blame else None
            if blame or miss:
                state.broken.update(dict.fromkeys(changed, blame or step_text(step)))
                found.append(self._found(target, step, miss, blame))
        return found

    def _blame_own(self, target: Target, step: Step) -> str:
        if not isinstance(step, Copy) or step.source:
            return ""
        return self._states[id(target.own or target)].blame((step.path,))

    def _lay(self, target: Target, state: _State) -> None:
        (state.root / target.patch_in).mkdir(parents=True)
        for layer in target.layers:
            wanted = {path: _below(path, layer.directory) for path in state.demands}
            if layer.target is None:
                nodes = self._contents.get(layer.source, {})
                # With the links on the way: through them nothing may be changed.
                _write(
                    state.root / layer.directory,
                    {path: node for path, node in nodes.items() if path in _all_above(wanted.values())},
                )
                continue
            below = self._states[id(layer.target)]
            nodes = {inner: node for inner in wanted.values() if inner and (node := _node(below.root / inner))}
            _write(state.root / layer.directory, nodes)
            state.broken.update({joined(layer.directory, path): step for path, step in below.broken.items()})

    def _try(self, target: Target, root: Path, step: Step) -> Any:
        """Apply a step; return what strict_apply.py says when it does not fit."""
        strict = self._strict
        try:
            match step:
                case Patch():
                    strict.patch(str(root / target.patch_in), str(self._mounted(step.source, step.path)))
                case Copy():
                    own = self._states[id(target.own or target)].root
                    source = self._mounted(step.source, step.path) if step.source else own / step.path
                    strict.copy(str(root), str(source), step.to, step.replaces or "")
                case Edit():
                    strict.edit(str(root), step.file, step.find, step.replace, step.count)
                case Remove():
                    strict.remove(str(root), step.path)
        except strict.Misfit as miss:
            return miss
        except OSError as error:
            return strict.Misfit(str(error))
        return None

    def _found(self, target: Target, step: Step, miss: Any, blame: str) -> Found:
        message = f"not tried, because this did not fit: {blame}"
        if miss:
            message = str(miss).replace(f"{self._states[id(target)].root}/", "").replace(f"{self._scratch}/", "/")
        taken = miss is not None and miss.applied and isinstance(step, Patch)
        return Found(
            state="not tried" if blame else "taken" if taken else "misfit",
            users=tuple(target.users),
            where=target.where,
            step=step_text(step),
            upstream=target.upstream,
            message=message,
            misses=tuple(miss.misses) if miss else (),
        )


def _patches(target: Target) -> Iterable[tuple[str, str]]:
    return ((step.source, step.path) for step in target.steps if isinstance(step, Patch))


def _behind(step: Copy, demands: Iterable[str]) -> set[str]:
    """Return what a copy is made of, as far as somebody looks at the copy."""
    to = joined("", step.to)
    inner = (_below(path, to) for path in demands)
    return {joined("", step.path), *(joined(step.path, path) for path in inner if path)}


def _below(path: str, folder: str) -> str:
    """Return a path as seen from a folder, '' where it is not below it."""
    if not folder:
        return path
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else ""


def _related(one: str, other: str) -> bool:
    return not one or not other or f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _all_above(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parts = path.split("/")
        found.update("/".join(parts[: end + 1]) for end in range(len(parts)))
    return found


def _node(path: Path) -> Node | None:
    """Return what another target has at a path."""
    if path.is_symlink():
        return Node("link", os.fsencode(path.readlink()))
    if path.is_dir():
        return Node("folder")
    if path.is_file():
        return Node("file", path.read_bytes(), executable=os.access(path, os.X_OK))
    return None


def _write(root: Path, nodes: Nodes) -> None:
    """Write files, links and folders; a link comes last, and nothing is written through one."""
    links = {path for path, node in nodes.items() if node.kind == "link"}
    root.mkdir(parents=True, exist_ok=True)
    for path, node in sorted(nodes.items(), key=lambda item: (item[1].kind == "link", item[0])):
        if not any(path.startswith(f"{link}/") for link in links):
            write_node(root / path, node)

"""From what the engine and the script in the image say to what it is made of. A callable starts the container."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Protocol, TypeVar

import msgspec

from builder.errors import RunError
from builder.footprint.components import Groups, component_of
from builder.footprint.layers import Layer

__all__ = [
    "Footprint",
    "Part",
    "Reply",
    "Run",
    "count_command",
    "find_layers",
    "inside_command",
    "list_layers",
    "measure",
]

LABEL = "drivebuild.size"
Totals = dict[str, tuple[int, int, int, int]]
T = TypeVar("T")


class Reply(Protocol):
    """What a finished command left; builder/engine/process.py has one."""

    @property
    def code(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def complaint(self) -> str: ...


Run = Callable[[tuple[str, ...], bytes], Reply]
"""Runs a command, with something on its standard input."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Files of one layer that belong together: a distribution's, or a folder's."""

    component: str
    name: str
    layer: int
    """Number of the layer, the lowest 0; -1 where the engine does not let layers be looked into."""
    files: int
    bytes: int
    byte_code: int
    hidden: int
    """Bytes that nobody can see: a later layer writes the same path, or removes it."""


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is made of."""

    image: str
    id: str
    size: int
    """Bytes of all layers, as the engine counts them."""
    layers: tuple[Layer, ...]
    parts: tuple[Part, ...]

    @property
    def exact(self) -> bool:
        """Whether each layer was looked into; if not, parts are of the whole image."""
        return all(part.layer >= 0 for part in self.parts)

    @property
    def hidden(self) -> int:
        """Bytes that are stored and cannot be seen. Not exact: what layers have beyond the files of the image."""
        if self.exact:
            return sum(part.hidden for part in self.parts)
        return max(self.size - sum(part.bytes for part in self.parts), 0)

    def by_component(self) -> tuple[Part, ...]:
        """Return one part for each component, the largest first."""
        return _summed(self.parts, lambda part: (part.component, part.component))

    def by_name(self, component: str = "") -> tuple[Part, ...]:
        """Return one part for each distribution or folder, of all components or one, the largest first."""
        wanted = [part for part in self.parts if component in ("", part.component)]
        return _summed(wanted, lambda part: (part.component, part.name))

    def of_stage(self, stage: str) -> int:
        """Return the bytes of a stage's layers."""
        return sum(layer.size for layer in self.layers if layer.stage == stage)


def _summed(parts: Sequence[Part], key: Callable[[Part], tuple[str, str]]) -> tuple[Part, ...]:
    """Return one part for each component and name that `key` gives."""
    totals: dict[tuple[str, str], Counter[str]] = {}
    layers: dict[tuple[str, str], int] = {}
    for part in parts:
        layers.setdefault(key(part), part.layer)
        totals.setdefault(key(part), Counter()).update(
            files=part.files, bytes=part.bytes, byte_code=part.byte_code, hidden=part.hidden
        )
    found = [
        Part(component=component, name=name, layer=layers[component, name], **counted)
        for (component, name), counted in totals.items()
    ]
    return tuple(sorted(found, key=lambda part: (-part.bytes, part.name)))


def count_command(image: str, folders: Sequence[str]) -> tuple[str, ...]:
    """Return the command that counts an image's files inside it: the script comes on standard input.

    Args:
        image: the image's id.
        folders: where the engine keeps the layers, the lowest first; they are only read. Without them, the image is
            counted as one.
    """
    return inside_command(image, folders)


def inside_command(image: str, folders: Sequence[str], *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a script of builder/footprint/inside in an image: it comes on standard input.

    The script gets the number of layers, which lie in /layers/0 and up, and then the arguments.
    """
    words = ["docker", "run", "--rm", "--interactive", "--network", "none", "--label", LABEL, "--user", "0"]
    # Only what reading every file takes: root of an image may not be root of its layers otherwise.
    words += ["--cap-drop", "ALL", "--cap-add", "DAC_READ_SEARCH", "--security-opt", "no-new-privileges"]
    for number, folder in enumerate(folders):
        words += ["--mount", f"type=bind,source={folder},target=/layers/{number},readonly"]
    return (*words, "--entrypoint", "python3", image, "-I", "-B", "-", str(len(folders)), *arguments)


def measure(
    image: str, identity: str, layers: Sequence[Layer], folders: Sequence[str], groups: Groups, run: Run
) -> Footprint:
    """Return what an image is made of.

    Args:
        image: its name, for the reader.
        identity: its id.
        layers: its layers, the lowest first.
        folders: what the engine says of where it keeps them, the lowest first; may be empty, or of no use.
        groups: whose its distributions are.
        run: starts the container.

    Raises:
        RunError: the image cannot be counted.
    """
    usable = list(folders) if len(folders) == len(layers) else []
    totals = _count(identity, usable, run) if usable else None
    exact = totals is not None and len(totals) == len(layers) and any(totals)
    if totals is None or not exact:
        totals = _count(identity, [], run)
    if totals is None:
        raise RunError(f"{image}: its files cannot be counted in it", hint="it must have a python3")
    parts = [
        Part(
            component=component_of(layers[number] if exact else None, group, groups),
            name=group.partition(":")[2] + (" (CUDA part)" if group.startswith("cuda:") else ""),
            layer=number if exact else -1,
            files=counted[0],
            bytes=counted[1],
            byte_code=counted[2],
            hidden=counted[3],
        )
        for number, found in enumerate(totals)
        for group, counted in sorted(found.items())
    ]
    size = sum(layer.size for layer in layers)
    return Footprint(image=image, id=identity, size=size, layers=tuple(layers), parts=tuple(parts))


def _count(identity: str, folders: Sequence[str], run: Run) -> list[Totals] | None:
    return _answer("walk.py", count_command(identity, folders), run, list[Totals])


def _answer(script: str, command: tuple[str, ...], run: Run, form: type[T]) -> T | None:
    """Return what a script says in an image, or None where it says nothing of that form."""
    reply = run(command, (files("builder.footprint") / "inside" / script).read_bytes())
    if reply.code != 0:
        return None
    try:
        return msgspec.json.decode(reply.text, type=form)
    except msgspec.MsgspecError:
        return None


def find_layers(identity: str, folders: Sequence[str], paths: Sequence[str], run: Run) -> dict[str, tuple[int, ...]]:
    """Return the numbers of the layers that have each path, the lowest first; nothing where that cannot be told.

    Args:
        identity: the image's id.
        folders: where the engine keeps its layers, the lowest first.
        paths: absolute paths in the image.
        run: starts the container.
    """
    found = _answer("where.py", inside_command(identity, folders, *paths), run, dict[str, tuple[int, ...]])
    if found is None:
        return {}
    return {path: tuple(n for n in found.get(path, ()) if 0 <= n < len(folders)) for path in paths}


def list_layers(identity: str, folders: Sequence[str], run: Run) -> tuple[tuple[str, ...], ...]:
    """Return the files of each layer that have a content, the lowest first; nothing where that cannot be told.

    Args:
        identity: the image's id.
        folders: where the engine keeps its layers, the lowest first.
        run: starts the container.
    """
    if not folders:
        return ()
    found = _answer("names.py", inside_command(identity, folders), run, tuple[tuple[str, ...], ...])
    # An engine elsewhere may have other folders of these names: of an image without a file nothing is known.
    return found if found and len(found) == len(folders) and any(found) else ()

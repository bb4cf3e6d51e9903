"""What is kept of a build beside its record: the Dockerfile, and what the recipe said, for `why` to compare with.

Only a build that succeeded replaces them, so they belong to the image that its tag names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from builder.engine.folders import build_folder, make_folder, state_folder
from builder.engine.forecast import Forecast, compared, learn
from builder.engine.ledger import read_ledger
from builder.engine.log import unwritable
from builder.engine.record import DOCKERFILE, BuildRecord, write_record

if TYPE_CHECKING:
    from builder.engine.command import Choices
    from builder.plan.stage import Plan

__all__ = [
    "Asked",
    "KeptFile",
    "KeptStage",
    "Snapshot",
    "all_snapshots",
    "kept_text",
    "read_dockerfile",
    "read_snapshot",
    "read_step_files",
    "remember",
    "stages_of",
    "step_files",
]

SNAPSHOT = "plan.json"
FILES = "files"
LARGEST = 1 << 20
"""Patches and copied files up to so many bytes are kept, so that a change can be counted in lines."""
_FORM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a plan was rendered from, as digests."""

    digests: Mapping[str, str] = field(default_factory=dict)
    """By stage: builder/render/keys.py."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """By path below `templates/`: the first 12 digits of the sha256 of a template or script."""


class KeptStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a plan, with all that its template saw."""

    template: str
    base: str
    uses: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = {}


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a source that a step of the recipe names."""

    sha256: str
    size: int
    text: bool = False
    """Whether its text lies beside the record."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What an image was made from."""

    form: int = _FORM
    tag: str
    when: str
    image_id: str
    target: str
    model: str
    platform: str
    variant: str
    options: Mapping[str, str] = {}
    pinned: Mapping[str, str] = {}
    toolchain: str = ""
    profile: str = ""
    stages: Mapping[str, KeptStage]
    digests: Mapping[str, str]
    templates: Mapping[str, str]
    images: Mapping[str, str]
    """By name: a word for the content of an image that it stands on."""
    bases: Mapping[str, str]
    contexts: Mapping[str, str]
    notes: Mapping[str, str] = {}
    """By stage that a user's folder stands for: what that folder was."""
    arguments: Mapping[str, str] = {}
    offline: bool = False
    no_cache: bool = False
    architecture: str = ""
    files: Mapping[str, KeptFile] = {}
    """By `<stage>:<path>`."""


# At import, as builder/engine/ledger.py says: threads decode with it.
_DECODER = msgspec.json.Decoder(Snapshot)
_STAGES = msgspec.json.Decoder(dict[str, KeptStage])


def remember(record: BuildRecord, forecast: Forecast, *, plan: Plan, dockerfile: str, choices: Choices) -> BuildRecord:
    """Complete the record of a build, write it, and keep what the next one is compared with.

    Raises:
        BuildError: when the state folder cannot be written.
    """
    done = record.outcome == "done"
    what = compared(forecast, record.stages, read_ledger(forecast.builder))
    record = replace(
        record,
        digests={name: digest for name, digest in choices.asked.digests.items() if name in forecast.stages},
        keys={name: forecast.keys[name].key for name in forecast.stages},
        bases=forecast.bases,
        contexts=forecast.given.contexts,
        options=plan.options,
        pinned=plan.pinned,
        toolchain=plan.toolchain,
        profile=plan.profile,
        architecture=forecast.architecture,
        machine=forecast.machine,
        builder=forecast.builder,
        no_cache=choices.no_cache,
        offline=choices.offline,
        predicted=forecast.predicted,
        executed=what.executed,
        differences=what.differences if done else (),
    )
    write_record(record)
    learn(forecast, record.stages, record.differences)
    if done:
        _keep(record, forecast, plan, dockerfile, choices)
    return record


def read_snapshot(tag: str) -> Snapshot | None:
    """Return what an image was made from, or None where nothing is kept: it was never built here, or long ago."""
    return _decoded(build_folder(tag) / SNAPSHOT)


def all_snapshots() -> Iterator[Snapshot]:
    """Yield what every image was made from of which that is kept, in the order of their folders."""
    for path in sorted((state_folder() / "builds").glob(f"*/{SNAPSHOT}")):
        found = _decoded(path)
        if found is not None:
            yield found


def read_dockerfile(tag: str) -> str:
    """Return the text that an image was made from; '' where it is not kept."""
    try:
        return (build_folder(tag) / DOCKERFILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def kept_text(tag: str, file: KeptFile) -> str | None:
    """Return the text of a file that a step named, where it was kept."""
    try:
        return (build_folder(tag) / FILES / file.sha256).read_text(encoding="utf-8") if file.text else None
    except (OSError, UnicodeDecodeError):
        return None


def stages_of(plan: Plan) -> dict[str, KeptStage]:
    """Return the stages of a plan as they are kept: through JSON, so that old and new compare as equals."""
    plain = {
        stage.name: {
            "template": stage.template,
            "base": stage.base,
            "uses": list(dict.fromkeys(stage.uses)),
            "inputs": msgspec.to_builtins(stage.inputs, str_keys=True),
        }
        for stage in plan.stages
    }
    return _STAGES.decode(msgspec.json.encode(plain))


def step_files(stages: Mapping[str, KeptStage]) -> Iterator[tuple[str, str]]:
    """Yield (stage, path) of each file of a source that a step names."""
    for stage in stages.values():
        for step in stage.inputs.get("steps") or ():
            parts = str(step.get("file", "")).split("/", 3) if step.get("do") in ("patch", "copy") else []
            # /sources/<stage>/<path>
            if len(parts) == 4 and parts[:2] == ["", "sources"]:
                yield parts[2], parts[3]


def read_step_files(
    wanted: Iterable[tuple[str, str]], folders: Mapping[str, Path]
) -> dict[str, tuple[KeptFile, bytes]]:
    """Return what the files are that steps name, as far as folders on this disk have them."""
    found: dict[str, tuple[KeptFile, bytes]] = {}
    for stage, name in wanted:
        path = folders[stage] / name if stage in folders else None
        try:
            if path is None or not path.is_file() or path.stat().st_size > LARGEST:
                continue
            # A link in a stranger's source must not bring a file of the reader's into what is kept and shown.
            if not path.resolve().is_relative_to(folders[stage].resolve()):
                continue
            content = path.read_bytes()
        except OSError:
            continue
        text = b"\0" not in content
        digest = hashlib.sha256(content).hexdigest()
        found[f"{stage}:{name}"] = KeptFile(sha256=digest, size=len(content), text=text), content
    return found


def _decoded(path: Path) -> Snapshot | None:
    try:
        found = _DECODER.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.form == _FORM else None


def _keep(record: BuildRecord, forecast: Forecast, plan: Plan, dockerfile: str, choices: Choices) -> None:
    folder = make_folder(build_folder(record.tag))
    stages = {name: stage for name, stage in stages_of(plan).items() if name in plan.closure(record.target)}
    files = read_step_files(step_files(stages), choices.folders)
    snapshot = Snapshot(
        tag=record.tag,
        when=record.when,
        image_id=record.image_id,
        target=record.target,
        model=record.model,
        platform=record.platform,
        variant=record.variant,
        options=record.options,
        pinned=record.pinned,
        toolchain=record.toolchain,
        profile=record.profile,
        stages=stages,
        digests=record.digests,
        templates=choices.asked.templates,
        images=forecast.given.images,
        bases=forecast.bases,
        contexts=forecast.given.contexts,
        notes={source.stage: source.note for source in choices.sources},
        arguments=dict(choices.arguments),
        offline=choices.offline,
        no_cache=choices.no_cache,
        architecture=forecast.architecture,
        files={name: file for name, (file, _) in files.items()},
    )
    kept = make_folder(folder / FILES)
    wanted = {file.sha256: content for file, content in files.values() if file.text}
    for name, content in wanted.items():
        if not (kept / name).is_file():
            _write(kept / name, content)
    _write(folder / DOCKERFILE, dockerfile.encode())
    _write(folder / SNAPSHOT, msgspec.json.encode(snapshot))
    for path in kept.iterdir():
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise unwritable(path, error) from error

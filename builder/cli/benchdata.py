"""The nuScenes that `bench` reads: the user's own, or a small invented one that is kept in the cache, converted."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from builder.cli.data import named_folder, site_variables
from builder.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.cli.main import Settings
    from builder.engine.process import Result
    from builder.plan.stage import Plan

__all__ = ["data_folders"]

NUSCENES, PREPARED = "/data/nuscenes", "/data/prepared"
SCENES, SAMPLES = 4, 6
"""Of each version of the invented one: 18 key frames to train with, whose pictures stay in the page cache."""

Mounts = tuple[tuple["Path", str], ...]


def data_folders(
    settings: Settings, plan: Plan, *, data: Path | None, prepared: Path | None, say: Callable[[str], None]
) -> tuple[Mounts, str]:
    """Return what is mounted, and what it is in words.

    Raises:
        UsageError: when the user's folders lack something.
        RunError: when the invented one cannot be converted.
    """
    if data is None:
        return _invented(settings, plan, say)
    model = plan.model
    prepared = prepared or named_folder(site_variables(), "PREPARED_ROOT")
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder", hint="--data names a nuScenes as downloaded")
    lacking = [
        entry.path
        for entry in model.data.entries
        if entry.generated and entry.required and not (prepared and (prepared / model.name / entry.path).exists())
    ]
    if lacking or prepared is None:
        where = f"{prepared}/{model.name}" if prepared else "PREPARED_ROOT is not set, and it"
        hint = f"NUSCENES_ROOT={data} PREPARED_ROOT={prepared or 'DIR'} drivebuild data prepare {model.name}"
        raise UsageError(f"{where} lacks {', '.join(lacking) or 'everything'}", hint=hint)
    return _mounts(data, prepared / model.name), str(data)


def _mounts(data: Path, prepared: Path) -> Mounts:
    return ((data.resolve(), NUSCENES), (prepared.resolve(), PREPARED))


def _invented(settings: Settings, plan: Plan, say: Callable[[str], None]) -> tuple[Mounts, str]:
    from builder import __version__
    from builder.dataset.synth import synthesize
    from builder.engine.folders import cache_folder, make_folder

    base = make_folder(cache_folder() / "bench")
    kind = f"{SCENES}x{SAMPLES}-{__version__}"
    root = base / f"nuscenes-{kind}"
    if not root.is_dir():
        say("making a small nuScenes")
        synthesize(root, scenes=SCENES, samples=SAMPLES)
    prepared = base / f"prepared-{kind}"
    if any(entry.generated for entry in plan.model.data.entries):
        say(f"converting it for {plan.model.name}")
        _prepare(settings, plan, root, prepared)
    folder = make_folder(prepared / plan.model.name)
    return _mounts(root, folder), f"made by `drivebuild data synth`: {SCENES} scenes of {SAMPLES} key frames a version"


def _prepare(settings: Settings, plan: Plan, root: Path, prepared: Path) -> None:
    """Have the command convert it, in a process of its own: it prints, and takes its folders from the environment."""
    from builder.engine.process import SystemRunner

    words = [word for folder in settings.recipes for word in ("--recipes", str(folder))]
    argv = (sys.executable, "-m", "builder", *words, "data", "prepare", plan.model.name)
    chosen = ("--platform", plan.platform.name, "--variant", plan.variant, "--no-build")
    folders = {"NUSCENES_ROOT": root, "PREPARED_ROOT": prepared, "RUNS_ROOT": prepared / "runs"}
    users = {"DRIVEBUILD_UID": os.getuid(), "DRIVEBUILD_GID": os.getgid()}
    # Where it is not installed, the package is found by the path that this process has found it by.
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **folders, **users}
    reply: Result = SystemRunner().run((*argv, *chosen), env={key: str(value) for key, value in environment.items()})
    if reply.code != 0:
        said = "\n".join((reply.complaint or reply.text).splitlines()[-6:])
        hint = "--data and --prepared name a nuScenes and what was converted from it"
        raise RunError(f"{plan.model.name}: the small nuScenes cannot be converted\n{said}", hint=hint)

"""Checks a nuScenes on disk against what a model needs of it. Reads, and writes nothing anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.dataset.checktables import TableCheck, Tables
from builder.dataset.files import BROKEN_LINK, WORKERS, Listing, condition, deep_condition, list_folder, list_folders
from builder.dataset.nearmiss import explain_missing, looks_like_root, other_roots
from builder.dataset.needs import Needs, needs_of
from builder.dataset.nuscenes import CAN_BUS_ABSENT, CHANNELS, LABELLED, LOCATIONS, VERSIONS, download_of
from builder.dataset.report import Collector, Report
from builder.dataset.synth import MARKER
from builder.errors import UsageError
from builder.recipe.types import Model

__all__ = ["check_dataset"]

Progress = Callable[[str], None]


def check_dataset(
    model: Model,
    root: Path,
    *,
    versions: Sequence[str] = (),
    prepared: Path | None = None,
    weights: Path | None = None,
    deep: bool = False,
    progress: Progress = lambda _: None,
) -> Report:
    """Return what is missing or broken below `root`, the folder that holds `samples` and `v1.0-trainval`.

    `prepared` is the model's folder of generated files, `weights` that of weights; without them the first are looked
    for in `root`, and the second not at all. `deep` opens every file that is read in training.

    Raises:
        UsageError: when `root` is no folder, or the model or a version is not known.
    """
    needs = needs_of(model, versions)
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder", hint="name the folder that holds samples, maps and v1.0-trainval")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UsageError(f"{root}: may not be read by this user")
    found = Collector()
    check = _Check(root, needs, found, progress, deep=deep)
    if looks_like_root(root):
        check.dataset()
    else:
        others = other_roots(root)
        hint = f"name {others[0]} instead" if others else "unpack the downloads into one folder, and name that"
        example = ", ".join(sorted(needs.required | set(needs.versions)))
        found.add("error", str(root), "is no nuScenes: it has neither tables nor samples", example, hint=hint)
    check.generated(prepared)
    check.weights(weights)
    return Report(
        model=model.name,
        root=str(root),
        rows=check.rows,
        files=check.files,
        synthetic=(root / MARKER).is_file(),
        deep=deep,
        problems=found.problems(),
    )


class _Check:
    def __init__(self, root: Path, needs: Needs, found: Collector, progress: Progress, *, deep: bool) -> None:
        self._root = root
        self._needs = needs
        self._found = found
        self._progress = progress
        self._deep = deep
        self._listings: dict[str, Listing] = {}
        self.rows: dict[str, dict[str, int]] = {}
        self.files = 0

    def dataset(self) -> None:
        """Check folders, tables, and what they name."""
        self._entries()
        self._list()
        for version in self._needs.versions:
            check = TableCheck(self._root, version, self._needs, self._listings, self._found, self._progress)
            tables = check.run()
            self.rows[version] = tables.rows
            self._scenes(version, tables)
            self.files += tables.files
        if "maps/expansion" in self._needs.parts:
            for location in LOCATIONS:
                self._file(f"maps/expansion/{location}.json", "maps/expansion")
        if self._deep:
            self._look_inside()

    def _entries(self) -> None:
        """Folders first: when one is missing, that is said once. What nothing reads is missed by the tables alone."""
        for name in sorted(self._needs.required):
            place = self._root / name
            if not place.is_dir():
                what = BROKEN_LINK if place.is_symlink() and not place.exists() else "missing"
                hint = explain_missing(self._root, name)
                self._found.add("error", name, what, f"{name}/", download=download_of(name), hint=hint)
            elif not os.access(place, os.R_OK | os.X_OK):
                self._found.add("error", name, "not readable", f"{name}/", hint="`ls -ld` says whose it is")

    def _list(self) -> None:
        tops = [name for name in ("samples", "sweeps") if name in self._needs.required | self._needs.wanted]
        folders = [f"{top}/{channel}" for top in tops for channel in CHANNELS]
        folders += [f"{name}/{version}" for name in LABELLED for version in self._needs.versions]
        self._progress("files")
        sizes = frozenset({"samples/LIDAR_TOP", *(f"lidarseg/{version}" for version in self._needs.versions)})
        self._listings = list_folders(self._root, folders, with_sizes=sizes)

    def _scenes(self, version: str, tables: Tables) -> None:
        """Check what lies by scene: CAN bus messages and occupancy labels. Those of the test scenes are not read."""
        if not VERSIONS[version].labelled:
            return
        messages = sorted(part.partition("/")[2] for part in self._needs.parts if part.startswith("can_bus/"))
        if messages and (self._root / "can_bus").is_dir():
            listing = list_folder(self._root / "can_bus")
            for name in sorted(tables.scenes.values()):
                if name.startswith("scene-") and int(name[6:]) in CAN_BUS_ABSENT:
                    continue
                for message in messages:
                    self._listed(listing, f"{name}_{message}.json", "can_bus", f"can_bus: {message}")
        if "gts" in self._needs.required and (self._root / "gts").is_dir():
            self._progress("gts")
            paths = [
                f"gts/{tables.scenes.get(scene, '')}/{token}/labels.npz" for token, scene in tables.samples.items()
            ]
            with ThreadPoolExecutor(WORKERS) as pool:
                for path, wrong in zip(paths, pool.map(self._condition, paths), strict=True):
                    self._wrong(path, wrong, "gts")
            self.files += len(paths)

    def _listed(self, listing: Listing, name: str, folder: str, group: str) -> None:
        self.files += 1
        if name not in listing.sound:
            path = f"{folder}/{name}"
            self._wrong(path, listing.wrong.get(name, "missing"), group)

    def _condition(self, path: str) -> str:
        place = self._root / path
        try:
            return condition(place.name, place.stat())
        except OSError:
            return BROKEN_LINK if place.is_symlink() else "missing"

    def _file(self, path: str, group: str) -> None:
        self.files += 1
        self._wrong(path, self._condition(path), group)

    def _wrong(self, path: str, wrong: str, group: str) -> None:
        if wrong:
            # Where it may be instead is looked for once a group: a search for each of thousands would take minutes.
            new = ("error", group, wrong) not in self._found
            hint = explain_missing(self._root, path) if new and wrong == "missing" else ""
            self._found.add("error", group, wrong, path, download=download_of(path), hint=hint)

    def _look_inside(self) -> None:
        """Open every sound file of what is needed, and look at its beginning and end."""
        for folder, listing in self._listings.items():
            channel = folder.rpartition("/")[2]
            if channel in CHANNELS and channel not in self._needs.channels:
                continue
            self._ends(folder, (f"{folder}/{name}" for name in sorted(listing.sound)))
        self._ends("maps", self._below("maps", "*.png"))
        self._ends("maps/expansion", self._below("maps/expansion", "*.json"))
        if "can_bus" in self._needs.required:
            self._ends("can_bus", self._below("can_bus", "*.json"))
        if "gts" in self._needs.required:
            self._ends("gts", self._below("gts", "*/*/labels.npz"))

    def _below(self, folder: str, pattern: str) -> Iterator[str]:
        return (path.relative_to(self._root).as_posix() for path in (self._root / folder).glob(pattern))

    def _ends(self, group: str, paths: Iterator[str]) -> None:
        self._progress(f"inside {group}")
        sound = [path for path in paths if not self._condition(path)]
        with ThreadPoolExecutor(WORKERS) as pool:
            wrongs = pool.map(lambda path: deep_condition(self._root / path), sound)
            for path, wrong in zip(sound, wrongs, strict=True):
                self._wrong(path, wrong, group)

    def generated(self, prepared: Path | None) -> None:
        """Note which generated files are there. One that is missing stops a training, but not their making."""
        name = self._needs.model
        folder = prepared if prepared is not None else self._root
        for entry in self._needs.generated:
            place = folder / entry.path
            try:
                empty = not any(place.iterdir()) if place.is_dir() else not place.stat().st_size
            except OSError:
                empty = True
            if not empty:
                continue
            hint = f"`drivebuild data prepare {name}` makes it" if self._needs.converts else f"download it: {entry.url}"
            self._found.add("note", "generated files", "not there yet", entry.path, hint=hint)

    def weights(self, folder: Path | None) -> None:
        """Look for the weights below `folder`."""
        for weight in self._needs.weights if folder is not None else ():
            place = Path(str(folder)) / weight.file
            try:
                wrong = condition(place.name, place.stat())
            except OSError:
                wrong = "missing"
            if wrong:
                hint = explain_missing(Path(str(folder)), weight.file) or str(weight.url or weight.note)
                self._found.add("error" if weight.required else "note", "weights", wrong, weight.file, hint=hint)

"""Checks one version's tables: that all are there and whole, that keys lead somewhere, that files they name exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from builder.dataset.files import Listing, condition
from builder.dataset.nearmiss import explain_missing, find_archive
from builder.dataset.needs import Needs
from builder.dataset.nuscenes import CHANNELS, LABELLED, VERSIONS, download_of
from builder.dataset.report import Collector, Severity
from builder.dataset.tables import (
    Annotation,
    Calibrated,
    Category,
    Instance,
    Labels,
    MapRow,
    Row,
    Sample,
    SampleData,
    Scene,
    TableError,
    read_rows,
)

__all__ = ["TableCheck", "Tables"]

T = TypeVar("T", bound=Struct)
Progress = Callable[[str], None]


@dataclass(slots=True)
class Tables:
    """What the rest of a check needs of one version's tables."""

    rows: dict[str, int] = field(default_factory=dict)
    scenes: dict[str, str] = field(default_factory=dict)
    """Names by token."""
    samples: dict[str, str] = field(default_factory=dict)
    """Scene tokens by token of a key frame."""
    lidar: dict[str, str] = field(default_factory=dict)
    """Paths of the key frames' lidar files by token."""
    files: int = 0


class TableCheck:
    """Reads the tables of one version, once, and notes what is wrong."""

    def __init__(
        self,
        root: Path,
        version: str,
        needs: Needs,
        listings: Mapping[str, Listing],
        found: Collector,
        progress: Progress,
    ) -> None:
        self._root = root
        self._version = version
        self._needs = needs
        self._listings = listings
        self._found = found
        self._progress = progress

    def run(self) -> Tables:
        """Return what the tables say; what is wrong with them is noted."""
        tables = Tables()
        if not (self._root / self._version).is_dir():
            hint = explain_missing(self._root, self._version)
            self._found.add("error", self._version, "missing", f"{self._version}/", download=self._version, hint=hint)
            return tables
        logs = self._keys("log", Row, tables)
        sensors = self._keys("sensor", Row, tables)
        for name in ("attribute", "visibility"):
            self._keys(name, Row, tables)
        categories = self._categories(tables)
        self._scenes(tables, logs)
        for sample in self._rows("sample", Sample, tables):
            tables.samples[sample.token] = sample.scene_token
            if sample.scene_token not in tables.scenes:
                self._dangling("sample", "scene", sample.scene_token)
        calibrated = self._keys("calibrated_sensor", Calibrated, tables, sensor=("sensor_token", sensors))
        instances = self._keys("instance", Instance, tables, category=("category_token", categories))
        self._annotations(tables, instances)
        self._sample_data(tables, calibrated)
        self._maps(tables, logs)
        for name in LABELLED:
            self._labels(name, tables)
        self._counts(tables)
        return tables

    def _rows(self, table: str, kind: type[T], tables: Tables) -> Iterator[T]:
        path = self._root / self._version / f"{table}.json"
        shown = f"{self._version}/{table}.json"
        self._progress(shown)
        count = 0
        try:
            for rows in read_rows(path, kind):
                count += len(rows)
                yield from rows
        except FileNotFoundError:
            what, hint = "missing", explain_missing(self._root, shown)
            self._found.add("error", shown, what, shown, download=download_of(shown), hint=hint)
        except TableError as error:
            self._found.add("error", shown, str(error), shown, download=download_of(shown))
        except OSError as error:
            self._found.add("error", shown, f"cannot be read: {error.strerror}", shown)
        tables.rows[table] = count

    def _keys(self, table: str, kind: type[T], tables: Tables, **keys: tuple[str, set[str]]) -> set[str]:
        found = set()
        for row in self._rows(table, kind, tables):
            found.add(row.token)  # type: ignore[attr-defined]
            for other, (column, known) in keys.items():
                if getattr(row, column) not in known:
                    self._dangling(table, other, getattr(row, column))
        return found

    def _dangling(self, table: str, other: str, token: str) -> None:
        what = f"names rows that {other}.json does not have"
        self._found.add("error", f"{self._version}/{table}.json", what, token, download=self._version)

    def _categories(self, tables: Tables) -> set[str]:
        rows = list(self._rows("category", Category, tables))
        labelled = [name for name in LABELLED if (self._root / self._version / f"{name}.json").exists()]
        if labelled and any(row.index is None for row in rows):
            # The devkit stops at such a table: nuscenes.py, load_lidarseg_cat_name_mapping.
            what = f"has no index, and there is {labelled[0]}.json: it is the one of the plain release"
            hint = "unpack the labels' own category.json over it"
            group = f"{self._version}/category.json"
            self._found.add("error", group, what, group, download=labelled[0], hint=hint)
        return {row.token for row in rows}

    def _scenes(self, tables: Tables, logs: set[str]) -> None:
        for scene in self._rows("scene", Scene, tables):
            tables.scenes[scene.token] = scene.name
            if scene.log_token not in logs:
                self._dangling("scene", "log", scene.log_token)

    def _annotations(self, tables: Tables, instances: set[str]) -> None:
        samples = tables.samples
        for row in self._rows("sample_annotation", Annotation, tables):
            if row.sample_token not in samples:
                self._dangling("sample_annotation", "sample", row.sample_token)
            if row.instance_token not in instances:
                self._dangling("sample_annotation", "instance", row.instance_token)

    def _sample_data(self, tables: Tables, calibrated: set[str]) -> None:
        """Look up every file that the table names; the one loop that runs millions of times."""
        poses = self._keys("ego_pose", Row, tables)
        samples, listings = tables.samples, self._listings
        nothing = Listing()
        count = 0
        for row in self._rows("sample_data", SampleData, tables):
            path = row.filename
            folder, _, name = path.rpartition("/")
            if name not in listings.get(folder, nothing).sound:
                self._missing(row, folder, name, tables)
            count += 1
            if row.sample_token not in samples:
                self._dangling("sample_data", "sample", row.sample_token)
            if row.ego_pose_token not in poses:
                self._dangling("sample_data", "ego_pose", row.ego_pose_token)
            if row.calibrated_sensor_token not in calibrated:
                self._dangling("sample_data", "calibrated_sensor", row.calibrated_sensor_token)
            if row.is_key_frame and folder == "samples/LIDAR_TOP":
                tables.lidar[row.token] = path
        tables.files += count

    def _missing(self, row: SampleData, folder: str, name: str, tables: Tables) -> None:
        top, _, channel = folder.partition("/")
        if top in ("samples", "sweeps") and top not in self._needs.required | self._needs.wanted:
            return
        listing = self._listings.get(folder)
        what = listing.wrong.get(name, "missing") if listing else "missing"
        severity = self._severity(top, channel)
        if (severity, folder, what) not in self._found:
            path = row.filename
            download = download_of(path, self._version)
            hint = explain_missing(self._root, folder) if listing is None or listing.error else ""
            hint = hint or find_archive(self._root, path, self._version)
            self._found.add(severity, folder, what, path, count=0, download=download, hint=hint)
        scene = tables.scenes.get(tables.samples.get(row.sample_token, ""), "")
        self._found.add(severity, folder, what, row.filename, scene=scene)

    def _severity(self, top: str, channel: str) -> Severity:
        if top not in ("samples", "sweeps") or channel not in CHANNELS:
            # No release has such a name: the table was changed.
            return "error"
        return "error" if top in self._needs.required and channel in self._needs.channels else "warning"

    def _maps(self, tables: Tables, logs: set[str]) -> None:
        covered: set[str] = set()
        for row in self._rows("map", MapRow, tables):
            covered.update(row.log_tokens)
            self._file(row.filename, "maps", "error")
            tables.files += 1
        for log in logs - covered:
            self._dangling("log", "map", log)

    def _labels(self, name: str, tables: Tables) -> None:
        """Check the labels of one kind; the devkit wants every file, and no other, once their table is there."""
        if name not in self._needs.tables(self._version) and not (self._root / f"{self._version}/{name}.json").exists():
            return
        folder = f"{name}/{self._version}"
        listing = self._listings[folder]
        count = 0
        for row in self._rows(name, Labels, tables):
            count += 1
            at, _, file = row.filename.rpartition("/")
            if at != folder or file not in listing.sound:
                what = listing.wrong.get(file, "missing")
                hint = explain_missing(self._root, folder) if listing.error else ""
                self._found.add("error", folder, what, row.filename, download=name, hint=hint)
            elif name == "lidarseg":
                self._points(row, listing.sizes[file], tables)
        tables.files += count
        more = len(listing.sound) + len(listing.wrong) - count
        if count and more > 0:
            what = f"files that {name}.json does not name: the devkit counts them, and stops"
            stray = min(listing.sound - self._label_names(name), default="")
            self._found.add("error", folder, what, stray, count=more, hint=f"move them out of {folder}")

    def _label_names(self, name: str) -> set[str]:
        path = self._root / self._version / f"{name}.json"
        try:
            return {row.filename.rpartition("/")[2] for rows in read_rows(path, Labels) for row in rows}
        except (TableError, OSError):
            return set()

    def _points(self, row: Labels, size: int, tables: Tables) -> None:
        """A label file has one byte for each point of its lidar file, which has 20 for each."""
        points = self._listings.get("samples/LIDAR_TOP", Listing()).sizes
        lidar = points.get(tables.lidar.get(row.sample_data_token, "").rpartition("/")[2])
        if lidar is not None and lidar != 20 * size:
            what = "of another number of points than their lidar files"
            self._found.add("error", f"lidarseg/{self._version}", what, row.filename, download="lidarseg")

    def _file(self, path: str, entry: str, severity: Severity) -> None:
        place = self._root / path
        try:
            wrong = condition(place.name, place.stat())
        except OSError:
            wrong = "missing"
        if wrong:
            hint = explain_missing(self._root, path) if wrong == "missing" else ""
            self._found.add(severity, entry, wrong, path, download=download_of(path), hint=hint)

    def _counts(self, tables: Tables) -> None:
        published = VERSIONS[self._version].rows
        other = {name: tables.rows[name] for name in ("scene", "sample") if tables.rows.get(name) != published[name]}
        if other and all(tables.rows.get(name) for name in ("scene", "sample")):
            found = ", ".join(f"{count} rows in {name}.json" for name, count in other.items())
            wanted = ", ".join(f"{published[name]}" for name in other)
            what = f"is a part of the release: {found}, published are {wanted}"
            self._found.add("warning", self._version, what, hint="results of it do not compare with published ones")

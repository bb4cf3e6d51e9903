"""What a check found: problems by group, each with how many, one example, and where what is missing comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, structs

from builder.dataset.nuscenes import DOWNLOADS

__all__ = ["Collector", "Problem", "Report", "Severity"]

Severity = Literal["error", "warning", "note"]
_Key = tuple[Severity, str, str]
_ORDER: Mapping[Severity, int] = {"error": 0, "warning": 1, "note": 2}


class Problem(Struct, frozen=True, kw_only=True):
    """One kind of thing that is wrong in one group of files."""

    severity: Severity
    group: str
    """A folder, a table or a kind of file: `sweeps/LIDAR_TOP`."""
    what: str
    """`missing`, `empty`, and so on: with `group`, the headline."""
    count: int
    example: str = ""
    download: str = ""
    hint: str = ""
    scenes: tuple[str, ...] = ()
    """Names of the scenes that the files belong to, where they are files of sensors."""


class Report(Struct, frozen=True, kw_only=True):
    """All that a check found. `rows` counts tables by version, `files` are those that tables or scenes name."""

    model: str
    root: str
    rows: Mapping[str, Mapping[str, int]]
    files: int
    synthetic: bool
    deep: bool
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether a job can go by it: nothing that is required is missing or broken."""
        return not any(problem.severity == "error" for problem in self.problems)


class Collector:
    """Gathers what is wrong, by severity, group and kind; the first of each kind is its example."""

    def __init__(self) -> None:
        self._found: dict[_Key, Problem] = {}
        self._scenes: dict[_Key, set[str]] = {}

    def __contains__(self, key: _Key) -> bool:
        """Return whether something of this severity, group and kind was noted before."""
        return key in self._found

    def add(
        self,
        severity: Severity,
        group: str,
        what: str,
        example: str = "",
        *,
        count: int = 1,
        download: str = "",
        hint: str = "",
        scene: str = "",
    ) -> None:
        """Note `count` things of one scene or of none in particular; `download` is a key of DOWNLOADS."""
        key = (severity, group, what)
        if scene:
            self._scenes.setdefault(key, set()).add(scene)
        known = self._found.get(key)
        title = DOWNLOADS[download].title if download in DOWNLOADS else ""
        self._found[key] = Problem(
            severity=severity,
            group=group,
            what=what,
            count=count + (known.count if known else 0),
            example=(known.example if known else "") or example,
            download=(known.download if known else "") or title,
            hint=(known.hint if known else "") or hint,
        )

    def problems(self) -> tuple[Problem, ...]:
        """Return all problems, what matters most first."""
        with_scenes = [
            structs.replace(problem, scenes=tuple(sorted(self._scenes.get(key, ()))))
            for key, problem in self._found.items()
        ]
        return tuple(sorted(with_scenes, key=lambda item: (_ORDER[item.severity], item.group, item.what)))

"""What a model needs of a data set, out of its recipe. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builder.dataset.nuscenes import CHANNELS, LABELLED, PARTS, TABLES, VERSIONS
from builder.errors import RecipeError, UsageError
from builder.recipe.types import DataEntry, Model, Weight

__all__ = ["Needs", "needs_of"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What is looked for."""

    model: str
    versions: tuple[str, ...]
    required: frozenset[str]
    """Names of the folders below the data set's own without which a job stops, versions left out."""
    wanted: frozenset[str]
    """Names that the model's README lists although nothing reads them."""
    parts: frozenset[str]
    """`maps/expansion`, `can_bus/pose`: pieces that can be absent although the folder is there."""
    channels: frozenset[str]
    """Sensors whose files are read."""
    generated: tuple[DataEntry, ...]
    weights: tuple[Weight, ...]
    converts: bool
    """Whether a job of the model makes the generated files."""

    def tables(self, version: str) -> tuple[str, ...]:
        """Return the tables that a version must have."""
        labels = LABELLED if VERSIONS[version].labelled else ()
        return (*TABLES, *(name for name in labels if name in self.required))


def needs_of(model: Model, versions: Sequence[str] = ()) -> Needs:
    """Return what `model` needs; `versions` in place of those that its recipe lists.

    Raises:
        UsageError: for a model of another data set, or a version that does not exist.
        RecipeError: when the recipe names a part that nuScenes does not have.
    """
    if model.data.dataset != "nuscenes":
        raise UsageError(f"{model.name} is trained on {model.data.dataset}; only nuscenes can be checked")
    for version in versions:
        if version not in VERSIONS:
            raise UsageError(f"unknown version {version!r}", hint=f"there are {', '.join(VERSIONS)}")
    entries = [entry for entry in model.data.entries if not entry.generated]
    listed = tuple(entry.path for entry in entries if entry.path in VERSIONS)
    for entry in entries:
        for part in entry.parts:
            if part not in PARTS.get(entry.path, ()):
                hint = f"there are {', '.join(PARTS.get(entry.path, ())) or 'none'}"
                raise RecipeError(f"{model.name}: data: {entry.path} has no part {part!r}", hint=hint)
    folders = [entry for entry in entries if entry.path not in VERSIONS]
    return Needs(
        model=model.name,
        versions=tuple(dict.fromkeys(versions)) or listed,
        required=frozenset(entry.path for entry in folders if entry.required),
        wanted=frozenset(entry.path for entry in folders if not entry.required),
        parts=frozenset(f"{entry.path}/{part}" for entry in folders for part in entry.parts),
        channels=frozenset(name for name, kind in CHANNELS.items() if kind in model.data.sensors),
        generated=tuple(entry for entry in model.data.entries if entry.generated),
        weights=model.weights,
        converts=any(job.name == "prepare-data" for job in model.jobs),
    )

"""Rules on how a model's log is read and on the rows that its runs are held against. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from builder.recipe.suggest import one_of
from builder.recipe.text import DataPath, Document, Mistake
from builder.recipe.types import Catalog, Model, TrainingLog

__all__ = ["model_log", "model_references"]

HEAD = ("step", "epoch", "of", "stamp")


def model_log(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    """Patterns are patterns, with the groups that are read; every published metric has its line."""
    log = model.log
    if log is None:
        return
    wanted = ("step", "stamp") if log.steps.time == "stamps" else ("step",)
    yield from _pattern(doc, ("log", "steps", "match"), log.steps.match, wanted=wanted, known=HEAD)
    if log.steps.ends:
        yield from _pattern(doc, ("log", "steps", "ends"), log.steps.ends, wanted=(), known=())
    for index, metric in enumerate(log.metrics):
        yield from _pattern(doc, ("log", "metrics", index, "match"), metric.match, wanted=("value",), known=("value",))
    yield from _units(doc, log)
    names = [metric.name for metric in log.metrics]
    for index, row in enumerate(model.results):
        for name in row.metrics:
            if name not in names:
                message = f"results.{index}.metrics: no line of log.metrics gives {name!r}"
                yield doc.mistake(("results", index, "metrics", name), message, hint=one_of(name, names))


def _units(doc: Document, log: TrainingLog) -> Iterator[Mistake]:
    units: dict[str, str] = {}
    for index, metric in enumerate(log.metrics):
        if units.setdefault(metric.name, metric.unit) != metric.unit:
            message = f"log.metrics.{index}.unit: {metric.name!r} has another unit in another line"
            yield doc.mistake(("log", "metrics", index, "unit"), message)


def _pattern(
    doc: Document, path: DataPath, pattern: str, *, wanted: tuple[str, ...], known: tuple[str, ...]
) -> Iterator[Mistake]:
    spelled = ".".join(map(str, path))
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        yield doc.mistake(path, f"{spelled}: not a regular expression: {error}")
        return
    for name in wanted:
        if name not in groups:
            yield doc.mistake(path, f"{spelled}: the group {name!r} is missing", hint=f"write (?P<{name}>...)")
    for name in groups:
        if name not in known:
            yield doc.mistake(path, f"{spelled}: unknown group {name!r}", hint=one_of(name, known))


def model_references(catalog: Catalog, model: Model, doc: Document) -> Iterator[Mistake]:
    """One row at most is what a run is held against first."""
    seen: dict[tuple[int, int], int] = {}
    for index, row in enumerate(model.results):
        if not row.reference:
            continue
        first = seen.setdefault((row.cards, row.global_batch), index)
        if first != index:
            message = f"results.{index}.reference: row {first} is the reference for this batch and these cards"
            yield doc.mistake(("results", index, "reference"), message)

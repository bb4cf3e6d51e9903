"""A run folder or log to one report: its figures, its curves, what it is compared with, and what is not known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from builder.errors import UsageError
from builder.recipe.suggest import one_of
from builder.recipe.types import Catalog, Job, Model, TrainingLog
from builder.training.compare import Comparison, Setting, compare
from builder.training.folder import Source, chunks
from builder.training.logs import LogParser
from builder.training.records import Record, Step
from builder.training.series import Series, Summary

__all__ = ["Given", "Report", "gather", "guess_model"]

GUESS_BYTES = 8 << 20


class Given(Struct, frozen=True, kw_only=True):
    """What the command line says about logs that say nothing themselves. Zero and empty: not said."""

    model: str = ""
    job: str = ""
    cards: int = 0
    epochs: int = 0


class Report(Struct, frozen=True, kw_only=True):
    """Everything that is known of one run."""

    source: Source
    model: Model
    log: TrainingLog
    setting: Setting
    series: Series
    summary: Summary
    comparison: Comparison
    notes: tuple[str, ...]

    @property
    def samples_per_second(self) -> float | None:
        """Samples over all cards in a second, from the median step time."""
        median, batch = self.summary.step_median, self.setting.global_batch
        return batch / median if median and batch else None


def gather(catalog: Catalog, source: Source, given: Given) -> Report:
    """Read a source's logs and compare them.

    Raises:
        UsageError: when the model is not known, or its recipe does not say how to read its log.
        RunError: when a file cannot be read.
    """
    notes: list[str] = []
    model = _model(catalog, source, given, notes)
    log = model.log
    if log is None:
        raise UsageError(
            f"{model.name}: the recipe does not say how its log is read", hint="add `log` to it; see CONTRIBUTING.md"
        )
    series, text = _read(source, log, notes)
    summary = series.summary()
    if text.torn:
        notes.append(f"{text.torn} step lines could not be read (cut off, or two written into each other)")
    if text.cut:
        notes.append(f"{text.cut} lines were longer than 16 KiB; only their beginning was read")
    if summary.not_finite:
        notes.append(f"the loss is not a finite number in {summary.not_finite} lines")
    if summary.kept < summary.lines:
        notes.append(f"{summary.kept} of {summary.lines} lines are kept for times and curves, evenly spread")
    if log.steps.time == "stamps" and summary.timed_lines:
        notes.append("step times are taken from time stamps, over a minute each: the 95 % value is smoothed by that")
    elif log.steps.time == "interval" and summary.timed_lines:
        notes.append("a line's step time is a mean over its steps: single slow steps do not show")
    setting = _setting(catalog, model, source, given, summary)
    return Report(
        source=source,
        model=model,
        log=log,
        setting=setting,
        series=series,
        summary=summary,
        comparison=compare(model, setting, summary),
        notes=tuple(notes),
    )


# --- reading -------------------------------------------------------------------------------------


def _read(source: Source, log: TrainingLog, notes: list[str]) -> tuple[Series, LogParser]:
    """Return what the logs say: steps from mmcv's JSON logs where they have no fewer, all else from the job's log."""
    text, parser = Series(log), LogParser(log, structured=source.log.name.endswith(".json"))
    of: int | None = None
    for record in _records(parser, source):
        text.add(record)
        if isinstance(record, Step) and record.of:
            of = record.of
    if not source.json_logs:
        return text, parser
    structured = Series(log)
    reader = LogParser(log, structured=True)
    steps = _json_steps(reader, source)
    known = of or log.epoch_steps or None
    structured.extend(replace(step, of=step.of or known) for step in steps)
    if structured.lines < max(text.lines, 1):
        return text, parser
    structured.take_evaluations(text)
    names = ", ".join(path.name for path in source.json_logs[:3])
    notes.append(f"steps are from mmcv's own {names}")
    return structured, parser


def _records(parser: LogParser, source: Source) -> Iterable[Record]:
    for data in chunks(source.log):
        yield from parser.feed(data)
    yield from parser.close()


def _json_steps(reader: LogParser, source: Source) -> Iterable[Step]:
    for path in source.json_logs:
        for data in chunks(path):
            yield from (record for record in reader.feed(data) if isinstance(record, Step))
        # Each file's last line may lack its end.
        yield from (record for record in reader.feed(b"\n") if isinstance(record, Step))


# --- what was run --------------------------------------------------------------------------------


def _model(catalog: Catalog, source: Source, given: Given, notes: list[str]) -> Model:
    name = _text(source.record, "model")
    if name and given.model and name != given.model:
        raise UsageError(f"{source.path}: a run of {name}, not of {given.model}", hint="leave out --model")
    name = name or given.model
    if not name:
        name = guess_model(catalog, source)
        notes.append(f"the log looks like one of {name}; --model says it for sure")
    if name not in catalog.models:
        raise UsageError(f"there is no model {name!r}", hint=one_of(name, catalog.models))
    return catalog.models[name]


def guess_model(catalog: Catalog, source: Source) -> str:
    """Return the model whose log this is: by its lines, the steps of its epoch, and its name in the text.

    Raises:
        UsageError: when none or several fit.
    """
    head, size = [], 0
    for data in chunks(source.log):
        head.append(data)
        size += len(data)
        if size >= GUESS_BYTES:
            break
    data = b"".join(head)
    lowered = data.lower()
    scores: dict[str, tuple[int, int, int]] = {}
    for name, model in catalog.models.items():
        if model.log is None:
            continue
        parser = LogParser(model.log)
        records = [*parser.feed(data), *parser.close()]
        steps = [record for record in records if isinstance(record, Step)]
        metrics = {getattr(record, "name", "") for record in records} - {""}
        of = steps[-1].of if steps else None
        fits = bool(of and model.log.epoch_steps and of % model.log.epoch_steps == 0)
        if steps or metrics:
            scores[name] = (min(len(steps), 1) + len(metrics), int(name.encode() in lowered), int(fits))
    best = [name for name, score in scores.items() if score == max(scores.values())]
    if len(best) == 1:
        return best[0]
    fitting = f"it could be of {', '.join(best)}" if best else "no model's step line or metric is in it"
    raise UsageError(f"{source.path}: which model's log this is cannot be told: {fitting}", hint="say it with --model")


def _setting(catalog: Catalog, model: Model, source: Source, given: Given, summary: Summary) -> Setting:
    assumed: list[str] = []
    name = _text(source.record, "job") or given.job
    jobs = [job for job in model.jobs if job.name == name] if name else [job for job in model.jobs if job.batch]
    if given.job and not jobs:
        names = [job.name for job in model.jobs]
        raise UsageError(f"{model.name} has no job {given.job!r}", hint=one_of(given.job, names))
    job = jobs[0] if jobs else Job(name=name or "unknown", title="", command=("true",), npus=0)
    devices = source.record.get("devices")
    recorded = isinstance(devices, list) and bool(devices)
    cards = given.cards or (len(devices) if isinstance(devices, list) and devices else job.npus) * _nodes(source)
    if not given.cards and not recorded and job.batch:
        assumed.append(f"nobody recorded the number of cards: taken as the {cards} of {job.name} (--cards says it)")
    args = source.record.get("args")
    if isinstance(args, list) and args:
        assumed.append(f"the job had the arguments {' '.join(map(str, args))}: the batch is taken as the recipe's")
    platform = _text(source.record, "platform") or model.platform
    known = catalog.platforms.get(platform)
    return Setting(
        model=model.name,
        job=job.name,
        cards=cards,
        batch=job.batch,
        epochs=given.epochs or _epochs(model, job, summary),
        platform=platform,
        variant=_text(source.record, "variant"),
        accelerator=known.accelerator if known else "npu",
        recorded=recorded or bool(given.cards),
        assumed=tuple(assumed),
    )


def _nodes(source: Source) -> int:
    """Return on how many nodes of a cluster it ran; each has the devices that node 0 recorded."""
    environment = source.record.get("environment")
    text = environment.get("DRIVEBUILD_NODES") if isinstance(environment, dict) else None
    return int(text) if isinstance(text, str) and re.fullmatch("[1-9][0-9]{0,3}", text) else 1


def _epochs(model: Model, job: Job, summary: Summary) -> int:
    """Return the epochs behind the metrics, from the log itself where it says."""
    if summary.epochs is not None:
        return summary.epochs
    usual = model.log.epoch_steps if model.log else 0
    if summary.of and usual:
        whole, rest = divmod(summary.of, usual)
        return whole if rest == 0 else 0
    return job.epochs


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""

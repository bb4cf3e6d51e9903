"""A run held against the rows that the recipe's README publishes: only where both did the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from builder.recipe.types import Job, Model, Result
from builder.training.series import Summary

__all__ = ["Comparison", "RowReport", "Setting", "Verdict", "compare", "published_row"]

STEP_MARGIN = 0.02
"""A step time within 2 % counts as published: READMEs round to 1 %, and scripts average different lines."""
POINTS_MARGIN = 0.5
"""A metric within half a point counts as published: two chips differ by 0.1 to 0.7 points in the READMEs' own rows."""
Word = Literal["as published", "faster", "slower", "better", "worse"]


class Setting(Struct, frozen=True, kw_only=True):
    """What was run."""

    model: str
    job: str
    cards: int
    batch: int
    """For each card; 0 where the job trains nothing."""
    epochs: int = 0
    """Epochs that the metrics are of; 0: not known."""
    platform: str = ""
    variant: str = ""
    accelerator: str = "npu"
    recorded: bool = True
    """Whether the number of cards is known and not taken from the recipe."""
    assumed: tuple[str, ...] = ()
    """What of this nobody recorded, as sentences."""

    @property
    def global_batch(self) -> int:
        """Samples of one step over all cards."""
        return self.cards * self.batch


class Verdict(Struct, frozen=True, kw_only=True):
    """One figure beside the published one."""

    what: str
    """`step time` or the metric's name."""
    measured: float
    published: float
    unit: Literal["s", "fraction", "percent"]
    word: Word
    margin: float
    """Of a step time the part of the published one by which it differs, else points (hundredths)."""

    def sentence(self) -> str:
        """Return e.g. '0.79 s against 0.615 s: 28 % slower'."""
        if self.unit == "s":
            shown = f"{self.measured:.4g} s against {self.published:g} s"
            exact = f"{abs(self.margin) * 100:.0f} % {self.word}"
            within = f"as published (within {STEP_MARGIN * 100:.0f} %)"
        else:
            shown = f"{self.measured:.4f} against {self.published:g}" if self.unit == "fraction" else ""
            shown = shown or f"{self.measured:.2f} % against {self.published:g} %"
            exact = f"{abs(self.margin):.2f} points {self.word}"
            within = f"as published (within ±{POINTS_MARGIN:g} points)"
        return f"{shown}: {within if self.word == 'as published' else exact}"


class RowReport(Struct, frozen=True, kw_only=True):
    """One published row, and what was found beside it or why nothing was."""

    row: Result
    verdicts: tuple[Verdict, ...]
    reasons: tuple[str, ...]


class Comparison(Struct, frozen=True, kw_only=True):
    """All rows of the recipe; the one that a run is held against first comes first."""

    rows: tuple[RowReport, ...]
    reasons: tuple[str, ...]
    """Why nothing compares at all, or what makes a comparison uncertain."""

    @property
    def compared(self) -> tuple[RowReport, ...]:
        """The rows with a verdict."""
        return tuple(row for row in self.rows if row.verdicts)


def compare(model: Model, setting: Setting, summary: Summary) -> Comparison:
    """Return what the run's figures are beside the published ones."""
    reasons = list(_hindrances(model, setting, summary))
    rows = sorted(model.results, key=lambda row: not row.reference)
    if reasons:
        reports = tuple(RowReport(row=row, verdicts=(), reasons=()) for row in rows)
        return Comparison(rows=reports, reasons=tuple(reasons))
    reports = tuple(_row(model, setting, summary, row) for row in rows)
    if not any(report.verdicts for report in reports):
        batches = sorted({(row.global_batch, row.cards) for row in rows})
        known = ", ".join(f"{batch} on {cards} cards" for batch, cards in batches)
        mine = f"{setting.global_batch} on {setting.cards} cards"
        if (setting.global_batch, setting.cards) not in batches:
            reasons.append(f"the run's global batch is {mine}; published is {known}")
    return Comparison(rows=reports, reasons=(*reasons, *setting.assumed))


def published_row(model: Model, job: Job, cards: int | None = None) -> Result | None:
    """Return the row that a job's step time is held against first, or None when no row has its global batch."""
    count = job.npus if cards is None else cards
    fitting = [
        row
        for row in model.results
        if row.step_seconds and (row.cards, row.global_batch) == (count, count * job.batch) and row.source == "README"
    ]
    return next((row for row in fitting if row.reference), fitting[0] if fitting else None)


def _hindrances(model: Model, setting: Setting, summary: Summary) -> Iterator[str]:
    if not model.results:
        yield "the recipe has no published rows"
    if setting.accelerator != "npu":
        yield f"the run was on {setting.platform}, without NPUs; all published rows are of trainings on accelerators"
    if not setting.batch:
        yield f"the job {setting.job} trains and evaluates nothing"
    elif not summary.lines and not summary.metrics:
        yield "the log has no step line and no metric"
    usual = model.log.epoch_steps if model.log else 0
    if not setting.recorded and usual and summary.of and _other_epoch(summary, usual):
        yield (
            f"the log counts {summary.of} steps, an epoch at the published global batch has {usual}: the batch or the "
            "data differ"
        )


def _other_epoch(summary: Summary, usual: int) -> bool:
    of = summary.of or 0
    return abs(of - usual) > 1 if summary.epochs is not None else of % usual != 0


def _row(model: Model, setting: Setting, summary: Summary, row: Result) -> RowReport:
    reasons = list(_differences(setting, row))
    if reasons:
        return RowReport(row=row, verdicts=(), reasons=tuple(reasons))
    verdicts: list[Verdict] = []
    if summary.step_median is not None and row.step_seconds:
        verdicts.append(_step_verdict(summary.step_median, row.step_seconds))
    elif summary.lines:
        reasons.append("no step time after the warm-up" if row.step_seconds else "the row has no step time")
    if summary.metrics:
        hindrance = _metrics_hindrance(model, setting, summary, row)
        if hindrance:
            reasons.append(hindrance)
        else:
            units = {metric.name: metric.unit for metric in model.log.metrics} if model.log else {}
            verdicts += [
                _metric_verdict(name, summary.metrics[name], value, units.get(name, "fraction"))
                for name, value in row.metrics.items()
                if name in summary.metrics
            ]
    return RowReport(row=row, verdicts=tuple(verdicts), reasons=tuple(reasons))


def _differences(setting: Setting, row: Result) -> Iterator[str]:
    if row.global_batch != setting.global_batch:
        yield f"global batch {row.global_batch}, the run's is {setting.global_batch}"
    if row.cards != setting.cards:
        yield f"{row.cards} cards, the run had {setting.cards}"
    if row.source != "README":
        yield f"printed in {row.source}, not in the README that the recipe follows"


def _metrics_hindrance(model: Model, setting: Setting, summary: Summary, row: Result) -> str:
    if not setting.epochs:
        return "metrics are not compared: it is not known how many epochs are behind them (--epochs says it)"
    if setting.epochs != row.epochs:
        return f"metrics are not compared: {setting.epochs} epochs, the row has {row.epochs}"
    usual = model.log.epoch_steps if model.log else 0
    if usual and summary.of and summary.epochs is not None and _other_epoch(summary, usual):
        return f"metrics are not compared: {summary.of} steps an epoch, the published training had {usual}"
    return ""


def _step_verdict(measured: float, published: float) -> Verdict:
    margin = measured / published - 1
    word: Word = "as published" if abs(margin) <= STEP_MARGIN else "slower" if margin > 0 else "faster"
    return Verdict(what="step time", measured=measured, published=published, unit="s", word=word, margin=margin)


def _metric_verdict(name: str, measured: float, published: float, unit: Literal["fraction", "percent"]) -> Verdict:
    margin = (measured - published) * (100 if unit == "fraction" else 1)
    # Figures are printed with few digits: the rounding of the last must not decide.
    word: Word = "as published" if round(abs(margin), 6) <= POINTS_MARGIN else "better" if margin > 0 else "worse"
    return Verdict(what=name, measured=measured, published=published, unit=unit, word=word, margin=margin)

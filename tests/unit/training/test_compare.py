"""Only what did the same is compared; every refusal says why."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from builder.recipe.types import Model
from builder.source.catalog import read_catalog
from builder.training.compare import Comparison, Setting, compare, published_row
from builder.training.records import Metric
from builder.training.series import Series

CATALOG = read_catalog()


def summary(model: Model, metrics: dict[str, float] | None = None, **changes: Any) -> Any:
    assert model.log is not None
    series = Series(model.log)
    for name, value in (metrics or {}).items():
        series.add(Metric(run=0, name=name, value=value, unit="fraction"))
    return replace(series.summary(), **{"lines": 100, "step_median": 0.79, **changes})


def held(model: str, metrics: dict[str, float] | None = None, *, setting: Any = None, **changes: Any) -> Comparison:
    recipe = CATALOG.models[model]
    batch = next(job.batch for job in recipe.jobs if job.batch)
    given = {"model": model, "job": "train-8p", "cards": 8, "batch": batch, "epochs": 24, **(setting or {})}
    return compare(recipe, Setting(**given), summary(recipe, metrics, **changes))


def sentences(comparison: Comparison) -> list[str]:
    return [f"{verdict.what} {verdict.sentence()}" for row in comparison.rows for verdict in row.verdicts]


def test_the_issues_example() -> None:
    assert sentences(held("streampetr")) == [
        "step time 0.79 s against 0.79 s: as published (within 2 %)",
        "step time 0.79 s against 0.63 s: 25 % slower",
        "step time 0.79 s against 0.615 s: 28 % slower",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.8057, "as published"), (0.8059, "2 % slower"), (0.7743, "as published"), (0.70, "11 % faster")],
)
def test_the_margin_of_step_times(seconds: float, words: str) -> None:
    assert words in sentences(held("streampetr", step_median=seconds))[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.4803, "0.4803 against 0.4803: as published (within ±0.5 points)"),
        (0.4753, "as published"),
        (0.4752, "0.51 points worse"),
        (0.4903, "1.00 points better"),
    ],
)
def test_the_margin_of_metrics(value: float, words: str) -> None:
    assert words in sentences(held("streampetr", {"mAP": value}))[1]


def test_percent_is_percent() -> None:
    assert "mIoU 30.00 % against 31.79 %: 1.79 points worse" in sentences(held("flashocc", {"mIoU": 30.0}))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"cards": 4}, "the run's global batch is 8 on 4 cards; published is 16 on 8 cards"),
        ({"batch": 4}, "the run's global batch is 32 on 8 cards; published is 16 on 8 cards"),
        ({"cards": 16, "batch": 1}, "the run's global batch is 16 on 16 cards; published is 16 on 8 cards"),
        ({"accelerator": "cpu", "platform": "debian-12-cpu"}, "without NPUs"),
        ({"batch": 0, "job": "smoke"}, "the job smoke trains and evaluates nothing"),
    ],
)
def test_never_across_different_trainings(setting: dict[str, Any], reason: str) -> None:
    found = held("streampetr", {"mAP": 0.48}, setting=setting)
    assert found.compared == ()
    assert any(reason in text for text in found.reasons), found.reasons


def test_one_epoch_compares_its_step_time_only() -> None:
    found = held("tpvformer", {"mIoU": 12.0}, setting={"epochs": 1}, step_median=1.195)
    assert [verdict.what for row in found.rows for verdict in row.verdicts] == ["step time", "step time"]
    assert found.rows[0].reasons == ("metrics are not compared: 1 epochs, the row has 24",)


def test_metrics_of_unknown_epochs() -> None:
    found = held("panoocc", {"mIoU": 0.68}, setting={"epochs": 0}, lines=0, step_median=None)
    assert found.compared == ()
    assert "--epochs" in found.rows[0].reasons[0]


def test_metrics_of_another_dataset() -> None:
    found = held("panoocc", {"mIoU": 0.68}, epochs=24, of=40, step_median=1.849)
    assert [verdict.what for verdict in found.rows[0].verdicts] == ["step time"]
    assert "40 steps an epoch, the published training had 3516" in found.rows[0].reasons[0]


def test_a_log_whose_epochs_contradict_the_assumed_cards() -> None:
    setting = {"recorded": False}
    assert held("panoocc", setting=setting, epochs=2, of=7032, step_median=1.8).compared == ()
    assert held("panoocc", setting=setting, epochs=2, of=3516, step_median=1.8).compared != ()
    assert held("streampetr", setting=setting, of=42192).compared != ()
    assert held("streampetr", setting=setting, of=42000).compared == ()


def test_rows_of_another_release_are_shown_and_not_compared() -> None:
    model = CATALOG.models["flashocc"]
    later = replace(model.results[1], source="DrivingSDK 7.3.0", reference=False)
    found = compare(
        replace(model, results=(later,)),
        Setting(model="flashocc", job="train-8p", cards=8, batch=4, epochs=24),
        summary(model),
    )
    assert found.compared == ()
    assert "printed in DrivingSDK 7.3.0" in found.rows[0].reasons[0]


@pytest.mark.parametrize("name", sorted(CATALOG.models))
def test_every_model_has_one_reference_row_for_its_training(name: str) -> None:
    model = CATALOG.models[name]
    job = next(job for job in model.jobs if job.name == "train-8p-performance")
    row = published_row(model, job)
    assert row is not None
    assert row.reference
    assert row.chip.startswith("Atlas")
    assert row.global_batch == job.npus * job.batch
    assert published_row(model, job, cards=4) is None
    train = next(job for job in model.jobs if job.name == "train-8p")
    assert train.epochs == row.epochs

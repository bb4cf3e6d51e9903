"""The simulation of many builds: its clock on graphs that can be reckoned by hand, its table against the recipes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.scaling_simulation import (
    FIVE,
    SIZES,
    TABLE,
    Task,
    apart,
    images,
    outcome,
    plans,
    seconds_of,
    together,
    wall,
    ways,
)
from builder.recipe.types import Catalog

RATE = 100.0


@pytest.fixture(scope="module")
def table() -> Any:
    return json.loads(TABLE.read_text(encoding="utf-8"))


def graph(*tasks: tuple[str, float, float, str]) -> dict[str, Task]:
    return {key: Task(key, key, seconds, size, tuple(needs.split())) for key, seconds, size, needs in tasks}


def test_a_chain_is_no_faster_on_more_workers() -> None:
    tasks = graph(("a", 10, 0, ""), ("b", 20, 0, "a"), ("c", 5, 0, "b"))
    assert wall(tasks, 1, RATE) == wall(tasks, 8, RATE) == 35
    assert ways(tasks) == {"a": 35, "b": 25, "c": 5}


def test_what_needs_nothing_runs_at_a_time() -> None:
    tasks = graph(*((f"t{number}", 10, 0, "") for number in range(6)))
    assert [wall(tasks, count, RATE) for count in (1, 2, 3, 6, 9)] == [60, 30, 20, 10, 10]


def test_the_longest_way_goes_first() -> None:
    # Taken in their order, the long one would begin last: 25 seconds.
    tasks = graph(("a", 10, 0, ""), ("b", 5, 0, ""), ("long", 15, 0, ""))
    assert wall(tasks, 2, RATE) == 15


def test_a_worker_pulls_what_it_does_not_have_and_pushes_what_it_made() -> None:
    # 500 MB are pushed in five seconds; the second worker pulls them first, the first has them.
    tasks = graph(("torch", 10, 500, ""), ("x", 20, 0, "torch"), ("y", 20, 0, "torch"))
    assert wall(tasks, 1, RATE) == 55
    assert wall(tasks, 2, RATE) == 40
    assert wall(tasks, 2, 1e12) == pytest.approx(30)


def test_sizes_are_what_they_are_called(catalog: Catalog, templates: dict[str, str], table: Any) -> None:
    made = list(plans(catalog, templates, ("stock", "lto"), table))
    for size in SIZES:
        assert len({name for name, _ in images(size, made)}) == size


def test_bounds_hold(catalog: Catalog, templates: dict[str, str], table: Any) -> None:
    made = list(plans(catalog, templates, ("stock", "lto"), table))
    for size in (5, 50):
        several = list(images(size, made))
        one, all_ = outcome(apart(several), (1, 4), 1e12), outcome(together(several), (1, 4), 1e12)
        assert all_.work < one.work
        assert all_.megabytes < one.megabytes
        for each in (one, all_):
            assert each.wall[1] == pytest.approx(each.work)
            assert each.wall[4] >= max(each.longest, each.work / 4) * 0.999
            assert each.wall[4] <= each.wall[1]


def test_images_apart_have_the_measured_sizes(catalog: Catalog, templates: dict[str, str], table: Any) -> None:
    made = list(plans(catalog, templates, ("stock",), table))
    sent = outcome(apart(images(5, made)), (), RATE).megabytes
    assert sent == pytest.approx(sum(table["images_megabytes"].values()) + 5 * table["megabytes"]["image"])


def test_the_table_knows_every_stage(catalog: Catalog, templates: dict[str, str], table: Any) -> None:
    # A stage that is new stops here: it has to be measured.
    assert {model for model, _, _ in plans(catalog, templates, ("stock", "lto"), table)} == set(FIVE)
    with pytest.raises(SystemExit, match="does not say how long nix takes"):
        seconds_of("nix", "streampetr", table)

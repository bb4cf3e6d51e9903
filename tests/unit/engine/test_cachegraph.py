"""What one cache lacks of others."""

from __future__ import annotations

import msgspec
import pytest

from builder.engine.cachegraph import CacheGraph, holds_all, lost_results


def graph(*records: tuple[str, int | None, list[list[int]]]) -> CacheGraph:
    """Return a cache of records: each a step, the number of its layer if it has one, and what it goes on from."""
    layers = [{"blob": f"sha256:{number:064x}", "parent": -1} for number in range(10)]
    made = [
        {"digest": step, "inputs": [[{"link": link} for link in ways] for ways in inputs]}
        | ({} if layer is None else {"layers": [{"layer": layer, "createdAt": "2026-11-21T00:00:00Z"}]})
        for step, layer, inputs in records
    ]
    return msgspec.json.decode(msgspec.json.encode({"layers": layers, "records": made}), type=CacheGraph)


BASE: tuple[str, int | None, list[list[int]]] = ("base", None, [])
WHOLE = graph(BASE, ("compile", 1, [[0]]), ("install", 2, [[1]]))


def test_nothing_is_lost_of_the_same() -> None:
    assert lost_results([WHOLE], WHOLE) == ()
    assert not WHOLE.holes, "a source has no result, and lacks none"
    assert holds_all(WHOLE, WHOLE)


def test_a_step_without_its_result_is_lost() -> None:
    poorer = graph(("install", 5, [[2]]), BASE, ("compile", None, [[1]]))
    assert poorer.holes
    (lost,) = lost_results([graph(BASE), WHOLE], poorer)
    assert lost.blob == f"sha256:{1:064x}"
    assert (holds_all(WHOLE, poorer), holds_all(poorer, WHOLE)) == (True, False)


def test_a_result_that_nobody_had_is_not_lost() -> None:
    poorer = graph(BASE, ("compile", None, [[0]]))
    assert lost_results([poorer, graph(("other", 1, []))], poorer) == ()


def test_the_same_step_of_something_else_is_another() -> None:
    elsewhere = graph(("other base", None, []), ("compile", 1, [[0]]))
    poorer = graph(BASE, ("compile", None, [[0]]))
    assert lost_results([elsewhere], poorer) == ()
    by_other_files = msgspec.json.decode(
        b'{"layers": [{"blob": "sha256:0"}], "records": [{"digest": "base"}, {"digest": "compile",'
        b' "inputs": [[{"link": 0, "selector": "sha256:1"}]], "layers": [{"layer": 0}]}]}',
        type=CacheGraph,
    )
    assert lost_results([by_other_files], poorer) == ()
    assert not holds_all(poorer, by_other_files)


def test_a_step_is_known_by_several_keys() -> None:
    """By what it was made from, and by its content: a result under one of them is there."""
    both = graph(BASE, ("content", None, []), ("compile", 1, [[0]]), ("install", 2, [[2, 1]]))
    parted = graph(BASE, ("content", None, []), ("compile", 1, [[0]]), ("install", 2, [[2]]), ("install", None, [[1]]))
    assert parted.holes
    assert lost_results([both], parted) == ()
    assert holds_all(both, parted)


def test_any_depth_and_loops() -> None:
    deep = graph(BASE, *((f"step {number}", 1, [[number]]) for number in range(3000)))
    poorer = graph(BASE, *((f"step {number}", None if number == 2999 else 1, [[number]]) for number in range(3000)))
    assert len(lost_results([deep], poorer)) == 1
    loop = graph(("a", 1, [[1]]), ("b", 1, [[0]]))
    assert lost_results([loop], loop) == ()


@pytest.mark.parametrize("layer", [7, -1])
def test_a_result_whose_layer_is_missing_is_none(layer: int) -> None:
    text = msgspec.json.encode({"layers": [{"blob": "x"}], "records": [{"digest": "a", "layers": [{"layer": layer}]}]})
    with pytest.raises(msgspec.ValidationError, match="layer is not there"):
        msgspec.json.decode(text, type=CacheGraph)

"""How far a fetch is."""

from __future__ import annotations

from builder.source.tally import Silent, Tally


def test_what_is_running_finished_and_failed() -> None:
    tally = Tally(4)
    tally.tell("a", 0, 100)
    tally.tell("b", 10, 0)
    tally.end("c", 50, "")
    tally.end("d", 0, "d: no such file")
    view = tally.view(0.0)
    assert (view.finished, view.failed, view.things) == (1, 1, 4)
    assert view.running == ("a", "b")
    assert (view.done, view.total, view.unknown) == (60, 150, 1)
    assert view.news == ("d: no such file",)
    assert tally.view(1.0).news == ()


def test_speed_is_of_what_was_fetched_now() -> None:
    tally = Tally(2)
    tally.tell("resumed", 1_000_000, 3_000_000)
    assert tally.view(10.0).speed == 0
    tally.tell("resumed", 2_000_000, 3_000_000)
    view = tally.view(12.0)
    assert view.speed == 500_000
    # The one that nobody has told the size of is taken to be as large.
    assert view.left == (1_000_000 + 3_000_000) / 500_000
    tally.end("resumed", 3_000_000, "")
    assert tally.view(13.0).done == 3_000_000


def test_a_file_begun_anew() -> None:
    tally = Tally(1)
    tally.tell("a", 800, 1000)
    tally.tell("a", 0, 1000)
    view = tally.view(0.0)
    assert (view.done, view.total) == (0, 1000)


def test_more_things_than_were_expected() -> None:
    tally = Tally(1)
    for name in "abc":
        tally.end(name, 1, "")
    assert (tally.view(0.0).things, tally.view(0.0).unknown) == (3, 0)


def test_nothing_listens() -> None:
    Silent().tell("a", 1, 2)
    Silent().end("a", 1, "")

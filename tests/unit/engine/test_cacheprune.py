"""BuildKit's cache and its budget: what `docker buildx` says, and what it is told."""

from __future__ import annotations

import pytest
from support.runner import RecordingRunner

from builder.engine.cacheprune import Usage, parse_usage, prune, prune_command, read_usage
from builder.engine.cacherecords import Record
from builder.engine.process import Result
from builder.errors import BuildError

SUMS = """\
Shared:\t\t7.092GB
Private:\t29.55GB
Reclaimable:\t36.64GB
Total:\t\t36.64GB
"""
PRUNE, DU = ("docker", "buildx", "prune"), ("docker", "buildx", "du")


def du(*ids: str) -> bytes:
    return "".join(f"ID:\t{name}\nReclaimable:\ttrue\nSize:\t1GB\n\n" for name in ids).encode() + SUMS.encode()


def records(*ids: str) -> list[Record]:
    return [Record(id=name, bytes=10**9) for name in ids]


def test_the_sums_are_read() -> None:
    assert parse_usage(SUMS) == Usage(total=36_640_000_000, reclaimable=36_640_000_000, shared=7_092_000_000)
    assert parse_usage("Reclaimable:\t0B\nTotal:\t\t0B\n") == Usage(total=0, reclaimable=0, shared=0)


def test_a_builder_that_says_nothing_is_an_error() -> None:
    assert parse_usage("") is None
    runner = RecordingRunner({DU: Result(1, b"", b'ERROR: no builder "x" found')})
    with pytest.raises(BuildError, match="no builder"):
        read_usage(runner, "x")
    assert runner.asked == [(*DU, "--verbose", "--builder", "x")]


def test_the_command_names_what_was_shown_and_how_old_it_has_to_be() -> None:
    assert prune_command(records("a", "b"), 0) == (*PRUNE, "--force", "--filter", "id=^(a|b)$")
    words = prune_command(records("a"), 5400, "far")
    assert words[6:] == ("--filter", "until=5400s", "--builder", "far")


def test_what_is_gone_is_what_the_builder_does_not_have_any_more() -> None:
    runner = RecordingRunner({PRUNE: Result(0, b"Total:\t9GB\n"), DU: Result(0, du("b", "other"))})
    done = prune(runner, records("a", "b", "c"), 0)
    assert [each.id for each in done.gone] == ["a", "c"]
    assert [each.id for each in done.stayed] == ["b"]
    assert done.bytes == 2 * 10**9
    # Once more, for what others made free; nothing went, so that is the end.
    assert [words[5] for words in runner.asked if words[:3] == PRUNE] == ["id=^(a|b|c)$", "id=^(b)$"]


def test_many_go_in_commands_of_some() -> None:
    many = records(*(f"r{number}" for number in range(250)))
    runner = RecordingRunner({PRUNE: Result(0, b""), DU: Result(0, du())})
    assert len(prune(runner, many, 0).gone) == 250
    assert [words[5].count("|") + 1 for words in runner.asked if words[:3] == PRUNE] == [100, 100, 50]


def test_a_builder_that_refuses_is_an_error() -> None:
    with pytest.raises(BuildError, match="not pruned: no"):
        prune(RecordingRunner({("docker",): Result(1, b"", b"no")}), records("a"), 0)

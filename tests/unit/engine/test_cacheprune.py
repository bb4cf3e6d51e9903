"""BuildKit's cache and its budget: what `docker buildx` says, and what it is told."""

from __future__ import annotations

import pytest
from support.runner import RecordingRunner

from builder.engine.cacheprune import Usage, expected_bytes, parse_usage, prune, prune_command, read_usage
from builder.engine.process import Result
from builder.errors import BuildError

DU = """\
ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED
6xi63etq9w7v464mpheyd4off              \ttrue   \t4.949GB   \tAbout a minute ago
Shared:\t\t7.092GB
Private:\t29.55GB
Reclaimable:\t36.64GB
Total:\t\t36.64GB
"""


def test_the_sums_are_read() -> None:
    assert parse_usage(DU) == Usage(total=36_640_000_000, reclaimable=36_640_000_000, shared=7_092_000_000)
    assert parse_usage("Reclaimable:\t0B\nTotal:\t\t0B\n") == Usage(total=0, reclaimable=0, shared=0)


def test_a_builder_that_says_nothing_is_an_error() -> None:
    assert parse_usage("") is None
    runner = RecordingRunner({("docker", "buildx", "du"): Result(1, b"", b'ERROR: no builder "x" found')})
    with pytest.raises(BuildError, match="no builder"):
        read_usage(runner, "x")
    assert runner.asked == [("docker", "buildx", "du", "--builder", "x")]


@pytest.mark.parametrize(("budget", "bytes_"), [(0, 90), (20, 80), (100, 0), (500, 0)])
def test_what_runs_is_not_counted_and_the_budget_stays(budget: int, bytes_: int) -> None:
    assert expected_bytes(Usage(total=100, reclaimable=90, shared=0), budget) == bytes_


def test_the_command_has_the_budget_the_age_and_the_builder() -> None:
    assert prune_command(20, 0) == ("docker", "buildx", "prune", "--force", "--keep-storage", "20")
    assert prune_command(0, 168, "far")[5:] == ("0", "--filter", "until=168h", "--builder", "far")


def test_what_was_removed_is_buildkits_own_word() -> None:
    runner = RecordingRunner({("docker", "buildx", "prune"): Result(0, b"ID\tSIZE\nabc\t1GB\nTotal:\t1.5GB\n")})
    assert prune(runner, 0, 0) == 1_500_000_000
    with pytest.raises(BuildError, match="not pruned: no"):
        prune(RecordingRunner({("docker",): Result(1, b"", b"no")}), 0, 0)

"""What BuildKit keeps, read from what several versions of buildx print."""

from __future__ import annotations

import pytest
from support.runner import RecordingRunner

from builder.engine.buildcache import Policy, judge_policy, parse_policy, read_policy
from builder.engine.process import Result

# buildx 0.13 with Docker 26
OLD = """\
Name:          default
Driver:        docker
Last Activity: 2026-11-21 10:53:24 +0000 UTC

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.0.0+unknown
Platforms:        linux/amd64, linux/386
Labels:
 org.mobyproject.buildkit.worker.moby.host-gateway-ip: 172.17.0.1
GC Policy rule#0:
 All:           false
 Filters:       type==source.local,type==exec.cachemount,type==source.git.checkout
 Keep Duration: 48h0m0s
 Keep Bytes:    6.218GiB
GC Policy rule#1:
 All:           false
 Keep Duration: 1440h0m0s
 Keep Bytes:    20GiB
GC Policy rule#2:
 All:        false
 Keep Bytes: 20GiB
GC Policy rule#3:
 All:        true
 Keep Bytes: 25.5GiB
"""
# buildx 0.20 with Docker 28
NEW = """\
Name:   default
Driver: docker

Nodes:
Name:     default
GC Policy rule#0:
 All:            false
 Filters:        type==source.local
 Keep Duration:  48h0m0s
 Max Used Space: 488.3MiB
GC Policy rule#1:
 All:            true
 Reserved Space: 9.313GiB
 Max Used Space: 18.63GiB
 Min Free Space: 5GB
"""
CONTAINER = """\
Name:   own
Driver: docker-container
Nodes:
Name: own0
GC Policy rule#0:
 All: true
 Keep Bytes: 9.3GiB
"""


def test_the_last_rule_is_the_one_for_everything() -> None:
    assert parse_policy(OLD) == Policy(driver="docker", kept=round(25.5 * 2**30))


def test_newer_engines_say_what_is_used_at_most_and_what_stays_free() -> None:
    found = parse_policy(NEW)
    assert found == Policy(driver="docker", kept=round(18.63 * 2**30), free=5_000_000_000, key="defaultMaxUsedSpace")


def test_too_little_is_a_warning_with_the_engines_own_setting() -> None:
    old, new = judge_policy(parse_policy(OLD)), judge_policy(parse_policy(NEW))
    assert (old.state, new.state) == ("warn", "warn")
    assert old.found == "BuildKit keeps 27 GB, one platform with its models takes about 30 GB"
    assert '{"builder": {"gc": {"enabled": true, "defaultKeepStorage": "30GB"}}}' in old.advice
    assert '"defaultMaxUsedSpace": "30GB"' in new.advice
    assert "leaves 5 GB of the disk free" in new.found
    assert "gckeepstorage = 30000" in judge_policy(parse_policy(CONTAINER)).advice


def test_enough_is_fine() -> None:
    found = judge_policy(parse_policy(OLD), needed=20_000_000_000)
    assert (found.state, found.advice) == ("ok", "")


@pytest.mark.parametrize("text", ["", "Driver: docker\n", "GC Policy rule#0:\n All: true\n", "Keep Bytes: 1GiB\n"])
def test_without_a_figure_nothing_is_warned_of(text: str) -> None:
    assert parse_policy(text).kept is None
    assert judge_policy(parse_policy(text)).state == "ok"


def test_buildx_is_asked_and_may_be_missing() -> None:
    runner = RecordingRunner(answers={("docker", "buildx", "inspect"): Result(0, OLD.encode())})
    found = read_policy(runner)
    assert found is not None
    assert found.driver == "docker"
    assert read_policy(RecordingRunner(missing=("docker",))) is None
    assert read_policy(RecordingRunner(answers={("docker",): Result(1)})) is None
    assert judge_policy(None).state == "ok"

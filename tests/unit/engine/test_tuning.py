"""How a host is tuned, by made-up /proc and /sys trees, and by this machine's own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from builder.engine.tuning import Tuning, judge_governors, judge_number, judge_pages, tunings

TUNED = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu10/cpufreq/scaling_governor": "performance\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
    "proc/sys/kernel/numa_balancing": "0\n",
    "proc/sys/vm/swappiness": "0\n",
    "proc/sys/kernel/sched_migration_cost_ns": "50000\n",
}
PLAIN = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "nobody asks here\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "proc/sys/kernel/numa_balancing": "1\n",
    "proc/sys/vm/swappiness": "60\n",
    "sys/kernel/debug/sched/migration_cost_ns": "500000\n",
}


def host(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def by_knob(found: tuple[Tuning, ...]) -> dict[str, Tuning]:
    return {each.knob: each for each in found}


def test_a_tuned_host_has_nothing_to_change(tmp_path: Path) -> None:
    found = tunings(host(tmp_path, TUNED))
    assert [each.state for each in found] == ["ok"] * 5
    assert found[0].found == "performance on 2 of 2 processors"


def test_a_plain_host_is_told_the_commands_with_reason_and_source(tmp_path: Path) -> None:
    found = tunings(host(tmp_path, PLAIN))
    assert [(each.knob, each.state, each.found, each.wanted) for each in found] == [
        ("CPU governor", "differs", "powersave on 2, performance on 1 of 3 processors", "performance"),
        ("transparent hugepages", "differs", "madvise", "always"),
        ("kernel.numa_balancing", "differs", "1", "0"),
        ("vm.swappiness", "differs", "60", "0"),
        ("kernel.sched_migration_cost_ns", "differs", "500000", "50000"),
    ]
    assert [each.command for each in found] == [
        "cpupower -c all frequency-set -g performance",
        "echo always > /sys/kernel/mm/transparent_hugepage/enabled",
        "sysctl -w kernel.numa_balancing=0",
        "sysctl -w vm.swappiness=0",
        "echo 50000 > /sys/kernel/debug/sched/migration_cost_ns",
    ]
    assert all(each.reason and each.source for each in found)


def test_a_virtual_machine_has_no_such_knobs_and_is_told_no_command(tmp_path: Path) -> None:
    found = tunings(tmp_path)
    assert [each.state for each in found] == ["absent"] * 5
    assert all(each.found.startswith("not there") and not each.command for each in found)


def test_the_scheduler_is_asked_where_this_kernel_has_it(tmp_path: Path) -> None:
    old = host(tmp_path / "old", {"proc/sys/kernel/sched_migration_cost_ns": "500000\n"})
    assert tunings(old)[4].command == "sysctl -w kernel.sched_migration_cost_ns=50000"


def test_a_knob_that_cannot_be_read_is_not_called_absent(tmp_path: Path) -> None:
    # a folder in its place is refused to root, too
    (tmp_path / "sys/kernel/debug/sched/migration_cost_ns").mkdir(parents=True)
    found = tunings(tmp_path)[4]
    assert (found.state, found.found) == ("unknown", "cannot be read by you")


@pytest.mark.parametrize("text", ["", "-1", "a lot", "\N{FULLWIDTH DIGIT ONE}"])
def test_what_says_nothing_is_not_judged(text: str) -> None:
    found = judge_number("vm.swappiness", text, wanted=0, command="c", reason="r")
    assert (found.state, found.command) == ("unknown", "c")
    assert judge_pages(text).state == "unknown"
    assert judge_governors(["", ""]).state == "unknown"


def test_one_processor_that_cannot_be_read_is_a_difference(tmp_path: Path) -> None:
    assert judge_governors(["performance", ""]).state == "differs"


def test_this_machine_can_be_read_and_nothing_of_it_is_changed() -> None:
    before = {path: Path("/", path).read_bytes() for path in PLAIN if Path("/", path).is_file()}
    found = by_knob(tunings(Path("/")))
    assert len(found) == 5
    swappiness = Path("/proc/sys/vm/swappiness").read_text(encoding="ascii").strip()
    assert found["vm.swappiness"].found == swappiness
    assert found["vm.swappiness"].state == ("ok" if swappiness == "0" else "differs")
    governors = list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"))
    assert (found["CPU governor"].state == "absent") == (not governors)
    assert msgspec.json.encode(tuple(found.values()))
    assert before == {path: Path("/", path).read_bytes() for path in before}

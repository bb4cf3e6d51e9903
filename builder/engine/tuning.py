"""How this host is tuned for training, beside what the guides say: advice, and nothing is ever changed.

The figures are those of vLLM Ascend's guide "optimization and tuning" and of Huawei's for MindIE 2.3 (facts:
platform.md section 3.8). What a guide says was not measured here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

__all__ = ["KEEP", "SOURCE", "Tuning", "judge_governors", "judge_number", "judge_pages", "tunings"]

SOURCE = "vLLM Ascend: optimization and tuning; Huawei MindIE 2.3: tuning of the host"
KEEP = "a command lasts until the next boot; sysctl keeps what a file in /etc/sysctl.d says"
ABSENT = "not there"
CLOSED = "cannot be read by you"
SCHEDULER = "sys/kernel/debug/sched/migration_cost_ns"

State = Literal["ok", "differs", "absent", "unknown"]
Read = Callable[[str], str | None]
"""The text of a file below the root: '' for one that cannot be read, None for one that is not there."""


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """One knob of the host, how it stands, and the command, for root, that turns it."""

    knob: str
    state: State
    found: str
    wanted: str
    command: str = ""
    reason: str = ""
    source: str = SOURCE


def tunings(root: Path) -> tuple[Tuning, ...]:
    """Return all knobs of the host whose root folder this is, in the guides' order."""

    def read(path: str) -> str | None:
        try:
            return (root / path).read_text(encoding="utf-8", errors="replace")[:4096].strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return ""

    return tuple(_all(read, _processors(root)))


def _processors(root: Path) -> Iterator[str]:
    """Yield the governor's file of each processor that has one; a virtual machine has none."""
    folder = root / "sys/devices/system/cpu"
    for path in sorted(folder.glob("cpu[0-9]*/cpufreq/scaling_governor")):
        yield str(path.relative_to(root))


def _all(read: Read, processors: Iterable[str]) -> Iterator[Tuning]:
    yield judge_governors([text for text in map(read, processors) if text is not None])
    yield judge_pages(read("sys/kernel/mm/transparent_hugepage/enabled"))
    yield judge_number(
        "kernel.numa_balancing",
        read("proc/sys/kernel/numa_balancing"),
        wanted=0,
        command="sysctl -w kernel.numa_balancing=0",
        reason="it takes pages away from running threads to see who uses them, and moves them; jobs are bound anyway",
    )
    yield judge_number(
        "vm.swappiness",
        read("proc/sys/vm/swappiness"),
        wanted=0,
        command="sysctl -w vm.swappiness=0",
        reason="memory of the loader's workers is not swapped out in favour of cached files of the dataset",
    )
    yield _scheduler(read)


def _scheduler(read: Read) -> Tuning:
    """Judge how long the scheduler takes a thread for warm: a sysctl up to Linux 5.12, in debugfs since."""
    own = read("proc/sys/kernel/sched_migration_cost_ns")
    text, command = own, "sysctl -w kernel.sched_migration_cost_ns=50000"
    if own is None:
        text, command = read(SCHEDULER), f"echo 50000 > /{SCHEDULER}"
    reason = "a waiting thread goes to an idle processor sooner; the kernel's own value is 500000"
    return judge_number("kernel.sched_migration_cost_ns", text, wanted=50000, command=command, reason=reason)


def judge_governors(governors: Sequence[str]) -> Tuning:
    """Judge what every processor's governor file says; none at all where the host has no such files."""
    knob, wanted = "CPU governor", "performance"
    if not governors:
        found = f"{ABSENT}: a virtual machine, or its firmware decides"
        return Tuning(knob=knob, state="absent", found=found, wanted=wanted)
    counts = Counter(name or CLOSED for name in governors)
    found = ", ".join(f"{name} on {count}" for name, count in counts.most_common()) + f" of {len(governors)} processors"
    return Tuning(
        knob=knob,
        state="ok" if set(counts) == {wanted} else "unknown" if set(counts) == {CLOSED} else "differs",
        found=found,
        wanted=wanted,
        command="cpupower -c all frequency-set -g performance",
        reason="one thread hands operators to an NPU; it must not wait for the processor's clock to rise",
    )


def judge_pages(text: str | None) -> Tuning:
    """Judge `transparent_hugepage/enabled`, in which brackets mark what holds: `always [madvise] never`."""
    knob, wanted = "transparent hugepages", "always"
    if text is None:
        return Tuning(knob=knob, state="absent", found=f"{ABSENT}: the kernel was built without", wanted=wanted)
    chosen = text.partition("[")[2].partition("]")[0]
    return Tuning(
        knob=knob,
        state="unknown" if not chosen else "ok" if chosen == wanted else "differs",
        found=chosen or CLOSED,
        wanted=wanted,
        command="echo always > /sys/kernel/mm/transparent_hugepage/enabled",
        reason="batches of images are large and read through; with 4 KiB pages address translation misses often",
    )


def judge_number(knob: str, text: str | None, *, wanted: int, command: str, reason: str) -> Tuning:
    """Judge a number of the kernel's; `text` is None where the kernel has no such file."""
    if text is None:
        return Tuning(knob=knob, state="absent", found=ABSENT, wanted=str(wanted))
    known = text.isascii() and text.isdigit()
    return Tuning(
        knob=knob,
        state="unknown" if not known else "ok" if int(text) == wanted else "differs",
        found=text if known else CLOSED,
        wanted=str(wanted),
        command=command,
        reason=reason,
    )

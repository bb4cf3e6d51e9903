"""What scripts of suites share that measure inside their own process: clock, figure, allocator, answer. In an image."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import re
import signal
import sys
import time
from typing import Any, Callable

VALUES = 3
TARGET = 0.1
"""Seconds that one value takes at least, as with pyperf."""
ALLOCATORS = re.compile(r"/lib(tcmalloc|jemalloc|mimalloc)[^/ ]*$")


def processor_seconds() -> float:
    """Return the seconds of processor of this process and of its living workers."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        # The kernel's number of a process' clock; Python has a name for that of a thread only.
        total += time.clock_gettime((~(child.pid or 0) << 3) | 2)
    return total


def clock_of(name: str) -> Callable[[], float]:
    """Return the clock that is called `wall` or `processor`."""
    return processor_seconds if name == "processor" else time.perf_counter


def figure(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Return the median seconds of a call that is warm already."""
    start = clock()
    call()
    loops = max(1, math.ceil(TARGET / max(clock() - start, 1e-9)))
    values = []
    for _ in range(VALUES):
        start = clock()
        for _ in range(loops):
            call()
        values.append((clock() - start) / loops)
    return sorted(values)[len(values) // 2]


def mapped_allocators(maps: str) -> tuple[str, ...]:
    """Return the names of the allocators among a process' mapped files."""
    found = (ALLOCATORS.search(line) for line in maps.splitlines())
    return tuple(sorted({match.group(1) for match in found if match}))


def allocator_problem(claimed: str, maps: str) -> str:
    """Return what is wrong, unless exactly the allocator is mapped that the caller says; `none` is the C library's."""
    mapped = mapped_allocators(maps)
    wanted = () if claimed == "none" else (claimed,)
    if not claimed or mapped == wanted:
        return ""
    return "allocator %s is claimed, and mapped is %s" % (claimed, " and ".join(mapped) or "none")


def answer(measure: Callable[[], dict[str, Any]], seconds: int) -> None:
    """Print what a measurement gives as one line of JSON; end by SIGALRM, without any, when it takes too long."""
    signal.alarm(seconds)
    # Whatever libraries print must not stand where the answer does.
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        found = measure()
    except Exception as error:  # noqa: BLE001 - whatever it is belongs into the answer
        found = {"error": "%s: %s" % (type(error).__name__, str(error)[-400:])}
    if "values" in found:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            wrong = allocator_problem(os.environ.get("DRIVEBUILD_ALLOCATOR", ""), file.read())
        found = {"error": wrong} if wrong else found
    print(json.dumps(found), file=out, flush=True)

"""What an Ascend host says about its driver, firmware and devices. Pure: texts in, values out.

The forms are those of drivers 24.1 to 25.3; tests hold recorded outputs of several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from builder.errors import UsageError
from builder.recipe.types import Cann

__all__ = [
    "Npu",
    "NpuSmi",
    "Verdict",
    "device_text",
    "judge_driver",
    "judge_firmware",
    "parse_devices",
    "parse_npu_smi",
    "parse_version_info",
    "version_key",
]

MOST_DEVICES = 64
_NPU = re.compile(r"^\|\s*(\d+)\s+([A-Za-z0-9][\w.-]*[A-Za-z][\w.-]*)\s*\|\s*([A-Za-z]+)\s*\|")
_PROCESS = re.compile(r"^\|\s*(\d+)\s+(\d+)\s*\|\s*(\d+)\s*\|\s*(.*?)\s*\|\s*\d+\s*\|")
_TOOL = re.compile(r"npu-smi\s+(\S+)\s+Version:\s*(\S+)")
_RANGE = re.compile(r"\[([^\[\],]*),([^\[\],]*)\]")


class Verdict(msgspec.Struct, frozen=True):
    """What a version means: ok, warn or FAIL, and why."""

    state: Literal["ok", "warn", "FAIL"]
    why: str


class Npu(msgspec.Struct, frozen=True):
    """One row of `npu-smi info`."""

    number: int
    name: str
    health: str


class NpuSmi(msgspec.Struct, frozen=True):
    """What `npu-smi info` prints."""

    version: str
    npus: tuple[Npu, ...]
    busy: Mapping[int, tuple[str, ...]]
    """By NPU: the processes that use it, as `name (pid)`."""


def parse_version_info(text: str) -> dict[str, str]:
    """Return the lines KEY=VALUE of a `version.info`, of the driver or the firmware."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals and key.strip()}


def version_key(version: str) -> tuple[tuple[int, int], ...]:
    """Return a key that orders drivers as Huawei numbers them: 24.1.RC3 comes before 24.1.0, and 25.0.rc1.1 after
    25.0.RC1. Build numbers (`b030`) say nothing about it.
    """
    key = []
    for word in version.strip().lower().split("."):
        if word.isdigit():
            key.append((1, int(word)))
        elif re.fullmatch(r"rc\d+", word):
            key.append((0, int(word[2:])))
    return tuple(key)


def judge_driver(found: str, cann: Cann) -> Verdict:
    """Return what a driver of this version means for a platform's CANN."""
    here, best = version_key(found), version_key(cann.hdk_recommended)
    if not here:
        return Verdict("warn", f"{found!r} is no version of a driver")
    if cann.hdk_floor is not None and here < version_key(cann.hdk_floor):
        return Verdict("FAIL", f"CANN {cann.version} wants {cann.hdk_floor} or newer")
    known = (best, *map(version_key, cann.hdk_compatible))
    if any(here[: len(each)] == each for each in known):
        return Verdict("ok", f"in the table of CANN {cann.version}")
    if here > best:
        return Verdict("warn", f"newer than {cann.hdk_recommended}, which is recommended for CANN {cann.version}")
    floor = "" if cann.hdk_floor else "; how old it may be is not known"
    return Verdict("warn", f"older than {cann.hdk_recommended}, which is recommended for CANN {cann.version}{floor}")


def judge_firmware(found: str, wanted: str) -> Verdict:
    """Return whether a firmware is in one of the ranges `[least,most]` that the driver names."""
    here = _numbers(found)
    ranges = _RANGE.findall(wanted)
    if not here or not ranges:
        return Verdict("warn", "the driver does not say which firmware it wants")
    for least, most in ranges:
        low, high = _numbers(least), _numbers(most)
        if low and high and low <= here and here[: len(high)] <= high:
            return Verdict("ok", f"the driver wants {wanted}")
    return Verdict("FAIL", f"the driver wants {wanted}")


def parse_npu_smi(text: str) -> NpuSmi | None:
    """Return what `npu-smi info` says, or None when it is not its table."""
    tool = _TOOL.search(text)
    if tool is None:
        return None
    rows: dict[int, Npu] = {}
    busy: dict[int, list[str]] = {}
    for line in text.splitlines():
        process = _PROCESS.match(line)
        if process:
            busy.setdefault(int(process[1]), []).append(f"{process[4] or '?'} ({process[3]})")
            continue
        row = _NPU.match(line)
        if row and row[2] != "Name":
            known = rows.get(int(row[1]))
            # Two chips of one card have two rows; one that is not well makes the card unwell.
            if known is None or known.health == "OK":
                rows[int(row[1])] = Npu(int(row[1]), row[2], row[3])
    return NpuSmi(tool[2], tuple(rows.values()), {number: tuple(names) for number, names in busy.items()})


def parse_devices(text: str) -> tuple[int, ...]:
    """Return the device numbers that `0-3` or `0,2,5` names, in order.

    Raises:
        UsageError: for anything else, and for a number that is named twice.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,3})(?:-([0-9]{1,3}))?\s*", part)
        if match is None:
            raise UsageError(f"--devices {text!r}: expected numbers such as 0-3 or 0,2,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= MOST_DEVICES:
            raise UsageError(f"--devices {text!r}: {match[0].strip()} is no range of devices")
        found.extend(range(first, last + 1))
    twice = sorted({number for number in found if found.count(number) > 1})
    if twice:
        raise UsageError(f"--devices {text!r}: device {device_text(twice)} is named twice")
    return tuple(found)


def device_text(numbers: Iterable[int]) -> str:
    """Return device numbers in short.

    >>> device_text([0, 1, 2, 5])
    '0-2,5'
    """
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _numbers(version: str) -> tuple[int, ...]:
    words = version.strip().strip(".").split(".")
    return tuple(int(word) for word in words) if all(word.isdigit() for word in words) else ()

"""What this machine has for training: devices, driver, memory, limits. It reads a host's root folder, `/` by default,
so that tests show it made-up machines; nothing is changed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from builder.engine.finding import Finding, State
from builder.engine.npu import NpuSmi, device_text, judge_driver, judge_firmware, parse_npu_smi, parse_version_info
from builder.engine.process import CommandMissingError, Runner
from builder.recipe.types import Cann

__all__ = ["DRIVER_GROUP", "MANAGERS", "OPEN_FILES", "Machine"]

MANAGERS = ("davinci_manager", "devmm_svm", "hisi_hdc")
"""Devices that every container with NPUs gets beside its own."""
DRIVER = "usr/local/Ascend/driver/version.info"
FIRMWARE = "usr/local/Ascend/firmware/version.info"
TOOL = "usr/local/bin/npu-smi"
MOUNTED = ("usr/local/dcmi", TOOL, "usr/local/Ascend/driver", "etc/ascend_install.info")
"""What the compose services mount from the host; a missing one is an error of the engine's."""
DRIVER_GROUP = 1000
"""Group of HwHiAiUser, whom the driver's files and devices belong to; the compose services add it."""
CAP_SYS_RESOURCE = 24
OPEN_FILES = 65536
"""What the compose services ask for; StreamPETR's README wants the limit raised."""
GUIDE = "install Huawei's driver and firmware (HDK) for this chip, then reboot: docs/running.md"


class Machine:
    """A host, as its root folder shows it."""

    def __init__(self, root: Path, runner: Runner) -> None:
        self._root = root
        self._runner = runner
        self._smi: NpuSmi | None = None
        self._asked = False

    def devices(self) -> tuple[int, ...]:
        """Return the numbers of the NPUs, by `/dev/davinci<N>`."""
        try:
            names = [path.name for path in (self._root / "dev").iterdir()]
        except OSError:
            return ()
        found = (re.fullmatch(r"davinci(\d{1,3})", name) for name in names)
        return tuple(sorted(int(match[1]) for match in found if match))

    def lacking(self, devices: tuple[int, ...]) -> tuple[str, ...]:
        """Return what is not there of all that a container with these devices is given, as absolute paths."""
        wanted = [*(f"dev/davinci{number}" for number in devices), *(f"dev/{name}" for name in MANAGERS), *MOUNTED]
        return tuple(f"/{path}" for path in wanted if not self._there(path))

    def driver(self) -> str:
        """Return the driver's version, or nothing when none is installed."""
        said = parse_version_info(self._read(DRIVER))
        return said.get("Version", "") or said.get("package_version", "")

    def memory(self) -> int:
        """Return the bytes of memory, or 0 when the kernel does not say."""
        match = re.search(r"^MemTotal:\s*(\d+) kB", self._read("proc/meminfo"), re.MULTILINE)
        return int(match[1]) << 10 if match else 0

    def npu_findings(self, cann: Cann | None, *, wanted: bool) -> Iterator[Finding]:
        """Yield what there is to say about NPUs; without them one line, a failure when they are `wanted`."""
        devices = self.devices()
        if not devices and not self._there(DRIVER):
            state: State = "FAIL" if wanted else "warn"
            found = "none: no /dev/davinci*, no driver; images can be built here, models not trained"
            yield Finding(state=state, about="NPUs", found=found, advice=GUIDE)
            return
        yield self._npus(devices, wanted=wanted)
        yield from self._driver(cann)
        yield self._npu_smi(devices)
        yield self._mounted()
        yield self._group()

    def most_open_files(self) -> int:
        """Return how many open files the engine may give a container; 0 where nothing limits it or nobody can tell.

        A process raises a hard limit only with CAP_SYS_RESOURCE: an engine that itself runs in a container has none.
        """
        found = []
        for process in self._processes("dockerd", "containerd"):
            capable = re.search(r"^CapEff:\s*([0-9a-f]+)", self._read(f"{process}/status"), re.MULTILINE)
            limit = re.search(r"^Max open files\s+\S+\s+(\d+)", self._read(f"{process}/limits"), re.MULTILINE)
            if capable and limit and not int(capable[1], 16) >> CAP_SYS_RESOURCE & 1:
                found.append(int(limit[1]))
        return min(found, default=0)

    def _processes(self, *names: str) -> Iterator[str]:
        try:
            numbers = [path.name for path in (self._root / "proc").iterdir() if path.name.isdigit()]
        except OSError:
            return
        for number in numbers:
            if self._read(f"proc/{number}/comm").strip() in names:
                yield f"proc/{number}"

    def limit_findings(self, shm_gib: int, *, wanted: bool) -> Iterator[Finding]:
        """Yield what there is to say about memory, shared memory and limits; `shm_gib` is the largest job's."""
        memory = self.memory()
        if memory:
            short = memory < shm_gib << 30
            advice = f"a job takes up to {shm_gib} GiB as shared memory alone: fewer workers, or more memory"
            found = f"{memory / (1 << 30):.0f} GiB"
            yield Finding(state="warn" if short else "ok", about="memory", found=found, advice=advice if short else "")
        yield self._shm()
        yield self._open_files(wanted=wanted)

    def _npus(self, devices: tuple[int, ...], *, wanted: bool) -> Finding:
        if not devices:
            found = "none: the driver is installed, /dev/davinci* is missing"
            advice = "`npu-smi info` and `dmesg | grep -i davinci` say why; a reboot follows an installation"
            return Finding(state="FAIL" if wanted else "warn", about="NPUs", found=found, advice=advice)
        missing = [name for name in MANAGERS if not self._there(f"dev/{name}")]
        found = f"{len(devices)}: davinci{device_text(devices)}"
        if missing:
            found += f"; without /dev/{', /dev/'.join(missing)}"
            return Finding(state="FAIL", about="NPUs", found=found, advice=GUIDE)
        return Finding(state="ok", about="NPUs", found=found)

    def _driver(self, cann: Cann | None) -> Iterator[Finding]:
        driver = parse_version_info(self._read(DRIVER))
        version = driver.get("Version", "") or driver.get("package_version", "")
        if not version:
            yield Finding(state="FAIL", about="driver", found=f"/{DRIVER} is missing or says nothing", advice=GUIDE)
            return
        if cann is None:
            yield Finding(state="ok", about="driver", found=version)
        else:
            verdict = judge_driver(version, cann)
            advice = f"the table: `drivebuild doctor MODEL`, docs/running.md; recommended is {cann.hdk_recommended}"
            state = verdict.state
            yield Finding(
                state=state, about="driver", found=f"{version}: {verdict.why}", advice=advice if state != "ok" else ""
            )
        firmware = parse_version_info(self._read(FIRMWARE)).get("Version", "")
        if not firmware:
            yield Finding(state="warn", about="firmware", found=f"/{FIRMWARE} is missing or says nothing", advice=GUIDE)
            return
        said = judge_firmware(firmware, driver.get("compatible_version_fw", ""))
        advice = "driver and firmware of one HDK release belong together" if said.state != "ok" else ""
        yield Finding(state=said.state, about="firmware", found=f"{firmware}: {said.why}", advice=advice)

    def _npu_smi(self, devices: tuple[int, ...]) -> Finding:
        about = "npu-smi"
        if not self._there(TOOL):
            return Finding(state="FAIL", about=about, found=f"/{TOOL} is missing", advice=GUIDE)
        smi = self.smi()
        if smi is None:
            advice = f"run `/{TOOL} info`: it is the driver's own answer"
            return Finding(state="FAIL", about=about, found="it does not print its table", advice=advice)
        unwell = [f"NPU {npu.number} {npu.health}" for npu in smi.npus if npu.health != "OK"]
        if unwell:
            advice = "`npu-smi info -t health -i N` and the driver's logs say more; a reset or a reboot may help"
            return Finding(state="FAIL", about=about, found=", ".join(unwell), advice=advice)
        if smi.busy:
            used = "; ".join(f"NPU {number}: {', '.join(names)}" for number, names in sorted(smi.busy.items()))
            advice = "`drivebuild run --devices` takes the others"
            return Finding(state="warn", about=about, found=f"in use: {used}", advice=advice)
        names = sorted({npu.name for npu in smi.npus})
        return Finding(state="ok", about=about, found=f"{smi.version}, {len(smi.npus)} x {', '.join(names)}, all OK")

    def smi(self) -> NpuSmi | None:
        """Return what `npu-smi info` says, asked once; None when it cannot say."""
        if not self._asked:
            self._asked = True
            try:
                said = self._runner.run((str(self._root / TOOL), "info"))
            except (CommandMissingError, OSError):
                return None
            self._smi = parse_npu_smi(said.text) if said.code == 0 else None
        return self._smi

    def _mounted(self) -> Finding:
        missing = [f"/{path}" for path in MOUNTED if not self._there(path)]
        if missing:
            advice = "the services mount it from the host and stop without it; " + GUIDE
            found = f"{', '.join(missing)} is missing" if len(missing) == 1 else f"{', '.join(missing)} are missing"
            return Finding(state="FAIL", about="driver's files", found=found, advice=advice)
        return Finding(state="ok", about="driver's files", found=f"{len(MOUNTED)} paths that services mount are there")

    def _group(self) -> Finding:
        about = f"group {DRIVER_GROUP}"
        for line in self._read("etc/group").splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[2] == str(DRIVER_GROUP):
                if fields[0] == "HwHiAiUser":
                    return Finding(state="ok", about=about, found="HwHiAiUser")
                found = f"it is {fields[0]}, not HwHiAiUser"
                advice = "jobs join group 1000 to use the devices: `ls -ln /dev/davinci0` must show it"
                return Finding(state="warn", about=about, found=found, advice=advice)
        advice = "Huawei's guide: groupadd -g 1000 HwHiAiUser, and a user of that name, before the driver is installed"
        return Finding(state="warn", about=about, found="there is none", advice=advice)

    def _shm(self) -> Finding:
        path = self._root / "dev/shm"
        try:
            mode = path.stat().st_mode
        except OSError:
            return Finding(state="warn", about="shared memory", found="/dev/shm is missing on the host")
        if not stat.S_ISDIR(mode) or not os.access(path, os.W_OK):
            return Finding(state="warn", about="shared memory", found="/dev/shm cannot be written on the host")
        found = "each container gets its own /dev/shm, as large as its job says (shm_size)"
        return Finding(state="ok", about="shared memory", found=found)

    def _open_files(self, *, wanted: bool) -> Finding:
        allowed = self.most_open_files()
        if allowed and allowed < OPEN_FILES:
            found = f"the engine may give a container {allowed}, NPU services ask for {OPEN_FILES}"
            advice = (
                "raise the engine's own limit (systemd: LimitNOFILE=infinity in docker.service and containerd.service)"
            )
            return Finding(state="FAIL" if wanted else "warn", about="open files", found=found, advice=advice)
        text = self._read("proc/sys/fs/nr_open").strip()
        most = int(text) if text.isdigit() else 0
        if most and most < OPEN_FILES:
            advice = f"sysctl fs.nr_open={OPEN_FILES << 4}: services ask for {OPEN_FILES} open files"
            return Finding(state="FAIL", about="open files", found=f"fs.nr_open is {most}", advice=advice)
        found = f"services get {OPEN_FILES}" + (f", the kernel allows {most}" if most else "")
        return Finding(state="ok", about="open files", found=found)

    def _there(self, path: str) -> bool:
        return (self._root / path).exists()

    def _read(self, path: str) -> str:
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace")[: 1 << 20]
        except OSError:
            return ""

"""Made-up hosts: a root folder with NPUs and a driver, for what reads a host's root.

The texts are those that real machines print: `version.info` of drivers 24.1 to 25.3, and `npu-smi info` of 910B cards.
"""

from __future__ import annotations

from pathlib import Path

DRIVER = """\
Version={version}
ascendhal_version=7.35.23
aicpu_version=1.0
tdt_version=1.0
log_version=1.0
prof_version=2.0
dvppkernels_version=1.1
tsfw_version=1.0
Innerversion=V100R001C21SPC002B220
compatible_version=[V100R001C17],[V100R001C18],[V100R001C19],[V100R001C20],[V100R001C21]
compatible_version_fw=[6.4.0,6.4.99],[7.0.0,7.7.99]
package_version={version}
"""
FIRMWARE = """\
Version={version}
firmware_version=1.0
package_version=25.0.rc1.1
compatible_version_drv=[23.0.0,23.0.0.],[24.0,24.0.],[24.1,24.1.],[25.0,25.0.]
"""
_RULE = "+---------------------------+---------------+----------------------------------------------------+"
_DOUBLE = _RULE.replace("-", "=")
_HEAD = f"""\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.0.rc1.1               Version: 25.0.rc1.1                                           |
{_RULE}
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
{_DOUBLE}
"""
_ROW = """\
| {number}     910B3               | {health:<13} | 99.5        37                0    / 0             |
| 0                         | 0000:C{number}:00.0  | 0           0    / 0          3372 / 65536         |
"""
_PROCESSES = f"""\
{_RULE}
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
{_DOUBLE}
"""

TWO_CHIPS = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc3.7               Version: 24.1.rc3.7                                           |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 175.0       39                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3451 / 65536         |
+------------------------------------------------------------------------------------------------+
| 0     Ascend910           | Alarm         | -           38                0    / 0             |
| 1     1                   | 0000:9F:00.0  | 0           0    / 0          3215 / 65536         |
+===========================+===============+====================================================+
"""


def npu_smi(count: int = 8, *, ill: tuple[int, ...] = (), busy: tuple[int, ...] = ()) -> str:
    """Return what `npu-smi info` prints on a machine with so many 910B3."""
    rows = "".join(_ROW.format(number=n, health="Alarm" if n in ill else "OK") + _DOUBLE + "\n" for n in range(count))
    used = "".join(
        f"| {n}       0                 | 412{n}          | python                   | 30021                   |\n"
        for n in busy
    )
    free = "".join(
        f"| No running processes found in NPU {n}                                                            |\n"
        for n in range(count)
        if n not in busy
    )
    return _HEAD + rows + _PROCESSES + used + free + _DOUBLE + "\n"


def npu_host(
    root: Path, *, count: int = 8, driver: str = "25.0.rc1.1", firmware: str = "7.7.0.1.231", smi: str = ""
) -> Path:
    """Make a host with NPUs below a folder, and return it."""
    (root / "dev/shm").mkdir(parents=True)
    for name in (*(f"davinci{number}" for number in range(count)), "davinci_manager", "devmm_svm", "hisi_hdc"):
        (root / "dev" / name).write_text("")
    for folder in ("usr/local/dcmi", "usr/local/bin", "usr/local/Ascend/driver/lib64", "usr/local/Ascend/firmware"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("etc", "proc/sys/fs"):
        (root / folder).mkdir(parents=True)
    (root / "usr/local/Ascend/driver/version.info").write_text(DRIVER.format(version=driver))
    (root / "usr/local/Ascend/firmware/version.info").write_text(FIRMWARE.format(version=firmware))
    tool = root / "usr/local/bin/npu-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'EOF'\n{smi or npu_smi(count)}EOF\n")
    tool.chmod(0o755)
    (root / "etc/ascend_install.info").write_text("UserName=HwHiAiUser\nUserGroup=HwHiAiUser\n")
    (root / "etc/group").write_text("root:x:0:\nHwHiAiUser:x:1000:\n")
    (root / "proc/meminfo").write_text("MemTotal:       1583201332 kB\nMemFree:        1000 kB\n")
    (root / "proc/sys/fs/nr_open").write_text("1048576\n")
    return root

"""npu_stack.py: torch_npu is imported as jobs import it, and says truly whether there is a device.

The expectations are JSON on standard input. On a machine without devices `is_available` must be False and a tensor must
not get onto one; with devices nothing is demanded of them: what runs there is for the jobs to show.
"""

import glob
import importlib.util
import json
import os
import sys

from _report import finish, guard, not_verified, report
from _stand_ins import MISSING, PACKAGE, install


def imported():
    import torch
    import torch_npu

    return {"torch_npu": torch_npu.__version__, "torch": torch.__version__, "file": torch_npu.__file__}


def no_device():
    """Return what torch_npu says when a tensor is sent to a device that is not there."""
    import torch

    try:
        torch.zeros(1).npu()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0][:300]
    raise ValueError("a tensor was put on an NPU, and there is none")


def cann(expect):
    """Report which CANN this process is linked to."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        mapped = sorted({line.split()[-1] for line in maps if "libascendcl.so" in line})
    home = os.environ.get("ASCEND_TOOLKIT_HOME", "")
    report("CANN is set up by the entrypoint", bool(home) and os.path.isdir(home), {"ASCEND_TOOLKIT_HOME": home})
    inside = len(mapped) == 1 and os.path.realpath(mapped[0]).startswith(os.path.realpath(home) + os.sep)
    report("libascendcl.so is CANN's", inside, mapped)
    if expect["cann_way"] == "stub":
        # The real one has hundreds of functions and megabytes; this has empty ones.
        size = os.path.getsize(mapped[0]) if mapped else 0
        report("CANN is a link-only stand-in, as the image says", 0 < size < 200_000, {"bytes": size})


def operators(expect):
    """Report mx_driving, where the recipe has it: its wheel asks for devices when it is imported."""
    if "driving-sdk" not in expect["packages"]:
        return
    if importlib.util.find_spec(PACKAGE) is None:
        not_verified(f"{PACKAGE} is imported", MISSING)
        return
    install()
    guard(f"{PACKAGE} is imported", lambda: importlib.import_module(PACKAGE).__file__)


def main():
    expect = json.load(sys.stdin)
    if guard("torch_npu is imported", imported):
        import torch
        import torch_npu

        wanted = expect["versions"].get("torch_npu", expect["versions"].get("torch-npu"))
        found = torch_npu.__version__.partition("+")[0]
        report("torch_npu's own version", found == wanted, {"expected": wanted, "found": torch_npu.__version__})
        cann(expect)
        devices = glob.glob("/dev/davinci[0-9]*")
        available = torch.npu.is_available()
        if devices:
            not_verified("torch_npu computes on the devices here", "needs a job of the model", {"devices": devices})
        else:
            report("torch.npu.is_available is False without a device", available is False, {"found": available})
            guard("a tensor cannot be put on an NPU that is not there", no_device)
            not_verified("torch_npu computes on an NPU", "needs a device")
        operators(expect)
    finish()


if __name__ == "__main__":
    main()

"""lto.py: the interpreter was built as the expectations (JSON on standard input) say: with LTO and PGO, or without.

Asked twice, of what was recorded and of the binary itself:
- sysconfig: --with-lto and --enable-optimizations in CONFIG_ARGS, -flto in *_NODIST; neither in what extension modules
  inherit, and CC and CXX are gcc and g++.
- the code, which the compiler leaves its traces in (_optimised.py). A configure that ignores an option, or a task that
  leaves no profile, shows there and nowhere else.

Standard library only; the ELF file is read by hand (_elf.py), because the image has no binutils.
"""

import json
import os
import re
import sys
import sysconfig

from _elf import Elf
from _optimised import of_clang, of_gcc, with_runtime
from _report import finish, report


def image_path():
    """Return the file that holds the interpreter's code: libpython where it is shared."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return os.path.realpath(sys.executable)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            if re.search(r"/libpython3[^/ ]*\.so", line):
                return line.split(None, 5)[5].strip()
    raise ValueError("Py_ENABLE_SHARED is set, but no libpython is mapped")


def variable(name):
    return str(sysconfig.get_config_var(name) or "")


expect = json.loads(sys.stdin.read())
optimised = expect["variant"] != "stock"
elf = Elf(image_path())
found, detail = (of_clang if expect["compiler"] == "clang" else of_gcc)(elf)
facts = {
    "LTO configured": "--with-lto" in variable("CONFIG_ARGS"),
    "LTO in PY_CFLAGS_NODIST": "-flto" in variable("PY_CFLAGS_NODIST"),
    "LTO in PY_LDFLAGS_NODIST": "-flto" in variable("PY_LDFLAGS_NODIST"),
    "PGO configured": "--enable-optimizations" in variable("CONFIG_ARGS"),
    **found,
}
for name, there in facts.items():
    # A stock build is checked as well: there the same facts must not hold.
    report(name if optimised else "not " + name, there == optimised, detail)

runtime = with_runtime(elf)
report("no profiling runtime left", not runtime, runtime[:10])
inherited = " ".join(map(variable, ("CFLAGS", "PY_CFLAGS", "LDFLAGS", "PY_LDFLAGS", "LDSHARED", "CC")))
report("extensions inherit neither LTO nor PGO", not re.search(r"-flto|-fprofile", inherited), inherited)
compilers = [variable("CC").split()[:1], variable("CXX").split()[:1]]
report("sysconfig names gcc and g++", compilers == [["gcc"], ["g++"]], compilers)
shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
report("libpython is shared" if expect["shared"] else "libpython is static", shared == expect["shared"])
finish()

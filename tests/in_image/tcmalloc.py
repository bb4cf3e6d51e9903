"""tcmalloc.py yes|no: whether the distribution's tcmalloc is mapped into this process."""

import sys

from _report import finish, report

wanted = {"yes": True, "no": False}[sys.argv[1]]
with open("/proc/self/maps", encoding="utf-8") as maps:
    mapped = sorted({line.split()[-1] for line in maps if "libtcmalloc" in line})
report("tcmalloc", bool(mapped) == wanted, {"expected": wanted, "mapped": mapped})
finish()

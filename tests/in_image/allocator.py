"""allocator.py tcmalloc|jemalloc|none [--page BYTES]: which allocator this process really has, by its own maps.

Exactly one library of an allocator is mapped, or none; the functions of malloc lead into it; it was preloaded after
torch's libgomp where that is needed; a child has it, too; and a compiled tcmalloc says its page itself.
"""

import ctypes
import os
import platform
import re
import subprocess
import sys

from _report import finish, report

NAMES = ("tcmalloc", "jemalloc")
FUNCTIONS = ("malloc", "free", "calloc", "realloc", "posix_memalign")


def mappings():
    """Return (first address, last address + 1, file) of every file that this process has mapped."""
    found = []
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(None, 5)
            if len(fields) == 6 and fields[5].startswith("/"):
                first, last = fields[0].split("-")
                found.append((int(first, 16), int(last, 16), fields[5]))
    return found


def allocators(files):
    """Return the files that are allocators."""
    return sorted({file for file in files if re.search(r"/lib(?:tcmalloc|jemalloc)[^/]*$", file)})


def place(function, mapped):
    """Return the file in which a function of the process' own names lies."""
    address = ctypes.cast(getattr(ctypes.CDLL(None), function), ctypes.c_void_p).value
    return next((file for first, last, file in mapped if first <= address < last), "")


wanted = sys.argv[1]
page = int(sys.argv[3]) if sys.argv[2:3] == ["--page"] else 0
link = f"/opt/drivebuild/lib{wanted}.so"
expected = [] if wanted == "none" else [os.path.realpath(link)]
mapped = mappings()
there = allocators(file for _, _, file in mapped)
report("allocator maps", there == expected, {"expected": expected, "mapped": there})

places = {name: place(name, mapped) for name in FUNCTIONS}
# A program that is not position-independent, as on aarch64, has its own entry for a function whose address it takes;
# that leads on to where the other names lead.
leads = set(places.values()) - {os.path.realpath("/proc/self/exe")}
right = leads == set(expected) if expected else bool(leads) and all(re.search(r"/libc[.-]", file) for file in leads)
report("allocator functions", right, places)

preloaded = [entry for entry in os.environ.get("LD_PRELOAD", "").split(":") if entry]
libgomp = [entry for entry in preloaded if "/torch.libs/libgomp" in entry]
if wanted == "none":
    report("allocator order", not preloaded, preloaded)
else:
    needed = platform.machine() == "aarch64"
    in_order = preloaded == [*libgomp, link] and bool(libgomp) == needed
    report("allocator order", in_order, {"preloaded": preloaded, "libgomp first": needed})

# What torch's loader starts: a child, which finds the same in its maps.
script = "print(''.join(line for line in open('/proc/self/maps') if 'malloc' in line))"
child = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
files = [line.split(None, 5)[5] for line in child.stdout.decode().splitlines() if len(line.split(None, 5)) == 6]
clean = child.returncode == 0 and not child.stderr
report("allocator of a child", clean and allocators(files) == expected, child.stderr.decode()[:500] or files[:3])

if wanted == "tcmalloc":
    command = [sys.executable, "-S", "-c", "pass"]
    environment = {**os.environ, "MALLOCSTATS": "1"}
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    match = re.search(r"(\d+)\s+Tcmalloc page size", said.stderr.decode())
    size = int(match.group(1)) if match else 0
    report("tcmalloc page size", size == page if page else size > 0, {"expected": page or "any", "bytes": size})
finish()

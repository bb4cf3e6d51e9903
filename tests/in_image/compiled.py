"""compiled.py: what the variants beyond lto compile was compiled by their compiler, linked by its linker, and so far.

Asked of the libraries themselves, which a compiler and a linker leave their names in: whether they count what runs, and
whether they were laid out by such counts. Of frameworks also: libomp comes with the image, and is the one that is used.
"""

import importlib.metadata
import json
import os
import re
import sys

from _elf import Elf
from _report import finish, report

COUNTERS, HOT = "__llvm_prf_cnts", ".text.hot"
# Of a framework: what is written in C++. Its helpers and the library for embedding are not.
MAIN = {"torch": r"/lib(c10|torch_cpu|torch_python)\.so", "torch-npu": r"/libtorch_npu\.so"}


def libraries(distribution):
    """Return the paths of a distribution's shared libraries that matter."""
    files = importlib.metadata.distribution(distribution).files or []
    wanted = re.compile(MAIN.get(distribution, r"\.so(\.[0-9.]+)?\Z"))
    return sorted(str(file.locate()) for file in files if ".so" in file.name and wanted.search("/" + str(file)))


def look(expect, distribution):
    """One distribution: all its libraries have the compiler's name, and one at least the profile's mark."""
    found = libraries(distribution)
    report(f"{distribution} has compiled libraries", found)
    hot = 0
    for path in found:
        elf, name = Elf(path), os.path.basename(path)
        comment = "; ".join(elf.strings(".comment"))
        made = all(text in comment for text in expect["compiler"])
        report(f"{name} was compiled by {' '.join(expect['compiler'])}", made, comment)
        report(f"{name} was linked by lld", "LLD" in comment, comment)
        counts = COUNTERS in elf.sections
        wanted = expect["level"] == "instrument"
        report(f"{name} {'counts' if wanted else 'has no counters'}", counts == wanted)
        hot += len(elf.content(HOT))
    if expect["level"] == "use":
        report(f"{distribution} is laid out by a profile", hot > 0, f"{hot} bytes of {HOT}")


def look_at_openmp():
    import torch

    torch.set_num_threads(2)
    torch.ones(1 << 20).exp().sum()
    with open("/proc/self/maps", encoding="utf-8") as maps:
        mapped = {line.split(None, 5)[5].strip() for line in maps if re.search(r"/lib(g|i)?omp[^/]*\.so", line)}
    own = any("torch/lib/libomp" in path for path in mapped)
    report("libomp is mapped, from PyTorch's own folder", own, sorted(mapped))
    report("threads are not bound", os.environ.get("OMP_PROC_BIND") == "false", os.environ.get("OMP_PROC_BIND"))
    report("torch says its compiler", "clang" in torch.__config__.show().lower(), torch.__config__.show())


expect = json.loads(sys.stdin.read())["compiled"]
# An instrumented library writes its counts when this ends; here nobody wants them.
os.environ.setdefault("LLVM_PROFILE_FILE", os.devnull)
for name in expect["distributions"]:
    look(expect, name)
if "torch" in expect["distributions"]:
    look_at_openmp()
finish()

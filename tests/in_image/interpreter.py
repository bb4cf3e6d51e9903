"""interpreter.py: the installed Python has what extensions need, nothing of its build, and byte code that never varies.

`pip install` of a C extension needs the headers, the Makefile's variables, and a compiler of the recorded name: one is
compiled and imported.

The expectations come as JSON on standard input. Standard library only.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from _bytecode import complaints
from _report import finish, guard, report

expect = json.loads(sys.stdin.read())
PREFIX = os.path.realpath(sys.base_prefix)
LIBRARY = sysconfig.get_path("stdlib", vars={"installed_base": PREFIX, "base": PREFIX})
SOURCE = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tried", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_tried(void) { return PyModule_Create(&module); }
"""


def below(folder, *ends):
    found = []
    for top, folders, files in os.walk(folder):
        found += [os.path.join(top, name) for name in folders + files if name.endswith(ends)]
    return found


def compile_extension():
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "tried.c"), os.path.join(folder, "tried.so")
        with open(source, "w") as file:
            file.write(SOURCE)
        shared = sysconfig.get_config_var("LDSHARED").split()
        flags = (sysconfig.get_config_var("CFLAGS") + " " + sysconfig.get_config_var("CCSHARED")).split()
        include = "-I" + sysconfig.get_path("include")
        done = subprocess.run(
            [*shared, *flags, include, source, "-o", target], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-1500:])
        spec = importlib.util.spec_from_file_location("tried", target)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


headers = sysconfig.get_path("include")
wanted = [os.path.join(headers, name) for name in ("Python.h", "pyconfig.h")] + [sysconfig.get_makefile_filename()]
report("headers and Makefile for extensions are there", all(map(os.path.isfile, wanted)), wanted)
inherited = {
    name: str(sysconfig.get_config_var(name) or "")
    for name in ("CC", "CXX", "LDSHARED", "LDCXXSHARED", "CFLAGS", "CCSHARED", "LDFLAGS", "AR", "BLDSHARED")
}
strange = {name: value for name, value in inherited.items() if re.search(r"/src/|/build/|-B/|-specs|\.gcda", value)}
report("extensions inherit nothing of the build's folders", not strange, strange)
compilers = [inherited[name].split()[0] for name in ("CC", "CXX")]
report("the compilers that sysconfig names are there", all(map(shutil.which, compilers)), compilers)
guard("an extension is compiled and imported", compile_extension)

left = below(PREFIX, ".gcda", ".gcno", ".profraw", ".profdata", ".fdata", ".o")
report("no profile and no object file is left", not left, left[:10])
archives = below(PREFIX, ".a")
report("no static library is left", not archives, archives[:10])
unused = ("test", "idlelib", "tkinter", "turtledemo")
tests = [os.path.join(LIBRARY, name) for name in unused if os.path.exists(os.path.join(LIBRARY, name))]
tests += [path for path in below(LIBRARY, "/test", "/tests") if "site-packages" not in path]
report("no tests and no toolkit without a display", not tests, tests[:10])
wrong = list(complaints(LIBRARY))
report("byte code is the same in every build, and its source's", not wrong, wrong[:10])
finish()

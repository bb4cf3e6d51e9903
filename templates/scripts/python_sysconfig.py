"""Let an installed Python name the system's compiler where its own is not to be had, and compile an extension with it.

    python_sysconfig.py TOOLS CC CXX AR       rewrites: /opt/toolchain/bin gcc g++ ar
    python_sysconfig.py                       compiles an extension

Extensions are compiled by what sysconfig, the installed Makefile and python-config name; the compiler of the
interpreter stays in its builder stage. CONFIG_ARGS is left as it is: it says how the interpreter was made. What still
names a tool of that stage, or an option that the system's compiler refuses, is an error. Standard library only.
"""

import glob
import importlib.util
import os
import pprint
import re
import subprocess
import sys
import sysconfig
import tempfile

RECORDS = ("CONFIG_ARGS",)
HEAD = "# system configuration generated and used by the sysconfig module\nbuild_time_vars = "
EXTENSION = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tried", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_tried(void) { return PyModule_Create(&module); }
"""


def replaced(text, tools, names):
    """Return a text with the system's tools; the linker's path goes, profdata is nothing that anybody else has."""
    text = re.sub(r"\s?--ld-path=" + re.escape(tools) + r"/[\w.+-]+", "", text)
    for tool, name in names:
        text = re.sub(re.escape(tools + "/" + tool) + r"(?![\w.+-])", name, text)
    return text.replace(tools + "/llvm-profdata", "llvm-profdata")


def rewrite_data(path, tools, names):
    """The table that sysconfig reads, written as CPython's own build writes it."""
    spec = importlib.util.spec_from_file_location("data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = {
        key: replaced(value, tools, names) if isinstance(value, str) and key not in RECORDS else value
        for key, value in module.build_time_vars.items()
    }
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEAD)
        pprint.pprint(values, stream=file)
    return [key for key, value in values.items() if key not in RECORDS and tools in str(value)]


def rewrite_text(path, tools, names):
    """A Makefile or a script, line by line."""
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    told = [line if line.startswith(RECORDS) else replaced(line, tools, names) for line in lines]
    if told != lines:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(told)
    return [line.strip() for line in told if tools in line and not line.startswith(RECORDS)]


def compile_extension():
    """With what the installed Python says now."""
    variables = sysconfig.get_config_vars()
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "tried.c"), os.path.join(folder, "tried.so")
        with open(source, "w", encoding="utf-8") as file:
            file.write(EXTENSION)
        flags = [word for key in ("CFLAGS", "CCSHARED") for word in variables[key].split()]
        command = [*variables["LDSHARED"].split(), *flags, "-I" + sysconfig.get_path("include"), source, "-o", target]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            sys.exit("an extension cannot be compiled: %s\n%s" % (" ".join(command), done.stdout.decode()[-2000:]))
        spec = importlib.util.spec_from_file_location("tried", target)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def main(tools, *system):
    names = list(zip(("clang++", "clang", "llvm-ar"), (system[1], system[0], system[2])))
    library = sysconfig.get_path("stdlib")
    left = []
    for path in glob.glob(os.path.join(library, "_sysconfigdata_*.py")):
        left += rewrite_data(path, tools, names)
    places = [os.path.join(library, "config-*", "*"), os.path.join(sys.prefix, "bin", "*-config")]
    for path in [found for place in places for found in glob.glob(place)]:
        if os.path.isfile(path) and not path.endswith((".a", ".o", ".c")):
            left += rewrite_text(path, tools, names)
    if left:
        sys.exit("these still name %s: %s" % (tools, left))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        compile_extension()
    else:
        main(*sys.argv[1:])

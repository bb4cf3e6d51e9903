"""Make link-only stand-ins for the CANN libraries that torch_npu is linked to.

    cann_stub.py --venv DIR --home DIR --version TEXT

Reads from the installed wheel which libraries and which symbols it wants and nobody here defines, and writes empty
functions of those names. Nothing of CANN is in the result and nothing runs on it: every call that returns an ACL error
code returns an error. Needs gcc and readelf; standard library only.
"""

import argparse
import glob
import os
import re
import subprocess
import sys

# All symbols go into this one; the others only have to be there.
HOLDER = "libascendcl.so"
# ACL_ERROR_RT_INTERNAL_ERROR: what a caller that checks its result gets.
FAILURE = 507899
# torch_npu before post12 counts devices while its library is being loaded, and dies in the message about a failure: it
# reads a table that is not there yet. It is told the truth.
NO_DEVICES = {"aclrtGetDeviceCount": "long aclrtGetDeviceCount(unsigned int *count) { *count = 0; return 0; }"}
EMPTY = "/* Generated: an empty stand-in. */\n"
# torch_npu looks whether the folders of these packages are there.
PACKAGES = ("compiler", "opp", "runtime")
# A CANN that is installed finds these through its set_env.sh as well.
SET_ENV = """\
# A stand-in for CANN {version}: link-only libraries, nothing can run on them.
export ASCEND_TOOLKIT_HOME={home}/latest
export ASCEND_HOME_PATH={home}/latest
export ASCEND_OPP_PATH={home}/latest/opp
export ASCEND_AICPU_PATH={home}/latest
export LD_LIBRARY_PATH={home}/latest/lib64${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
"""


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode("utf-8", "replace")


def needed(library):
    """Return the names of the libraries that a library is linked to."""
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "--dynamic", library)))


def symbols(library):
    """Return (undefined, defined) dynamic symbols as {name: type}, without versions."""
    undefined, defined = {}, {}
    for line in output("readelf", "--dyn-syms", "--wide", library).splitlines():
        words = line.split()
        if len(words) >= 8 and words[0].rstrip(":").isdigit():
            name = words[7].partition("@")[0]
            weak_and_absent = words[4] == "WEAK" and words[6] == "UND"
            if not weak_and_absent:
                (undefined if words[6] == "UND" else defined)[name] = words[3]
    return undefined, defined


def system_library(name):
    """Return the path of a library of the system, or None."""
    path = output("gcc", "-print-file-name=" + name).strip()
    return path if os.path.isabs(path) and os.path.exists(path) else None


def wanted(venv):
    """Return ({library}, {symbol}) that torch_npu wants and nobody here has."""
    (site,) = glob.glob(os.path.join(venv, "lib", "python*", "site-packages"))
    own = sorted(glob.glob(os.path.join(site, "torch_npu", "**", "*.so*"), recursive=True))
    if not own:
        sys.exit("cann_stub: torch_npu is not installed in " + venv)
    torch = sorted(glob.glob(os.path.join(site, "torch", "**", "*.so*"), recursive=True))
    present = {os.path.basename(path) for path in own + torch}
    libraries, undefined, defined = set(), set(), set()
    for path in own:
        undefined.update(symbols(path)[0])
        defined.update(symbols(path)[1])
        libraries |= needed(path)
    system = {name: system_library(name) for name in libraries - present}
    for path in torch + [path for path in system.values() if path]:
        defined.update(symbols(path)[1])
    # libpython's symbols come from the executable.
    names = {name for name in undefined - defined if not name.startswith(("Py", "_Py"))}
    return {name for name, path in system.items() if not path}, names


def c_source(names, answered=()):
    """Return C for empty definitions: data for C++ tables, functions for everything else. `answered` are given as C."""
    lines = ["/* Generated from the names that torch_npu asks for. */"]
    for name in sorted(names):
        if not re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", name):
            sys.exit("cann_stub: cannot define the symbol %r" % name)
        if name in answered:
            lines.append(answered[name])
        elif name.startswith(("_ZTV", "_ZTI", "_ZTS", "_ZTT")):
            lines.append("const char %s[256] = {0};" % name)
        elif name.startswith(("acl", "Hccl", "hccl")) and not re.search(r"(Name|Msg|Message|String)\Z", name):
            lines.append("long %s(void) { return %d; }" % (name, FAILURE))
        else:
            # It may return a pointer: none is the honest one.
            lines.append("long %s(void) { return 0; }" % name)
    return "\n".join(lines) + "\n"


def compile_library(source, target, soname):
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wl,-soname," + soname, "-Wl,--build-id=none", "-x", "c", "-"]
    subprocess.run([*command, "-o", target], input=source.encode(), check=True)


def opened(python, home):
    """Import torch_npu; return None if it imports, the library that it opens and does not find, "" if it dies."""
    latest = os.path.join(home, "latest")
    environment = dict(os.environ, LD_LIBRARY_PATH=os.path.join(latest, "lib64"))
    environment.update(ASCEND_HOME_PATH=latest, ASCEND_OPP_PATH=os.path.join(latest, "opp"))
    command = [python, "-B", "-c", "import torch_npu"]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = result.stdout.decode("utf-8", "replace")
    if result.returncode == 0:
        return None
    if result.returncode < 0:
        return ""
    found = re.search(r"(lib\w+\.so): cannot open shared object file", said)
    if not found:
        sys.exit("cann_stub: torch_npu cannot be imported:\n" + said)
    return found.group(1)


def complete(python, home, folder, libraries, names):
    """Add what only an import shows, until there is nothing more; `libraries` grows."""
    tried = set()
    library = opened(python, home)
    while library is not None:
        if library in tried or library in libraries:
            sys.exit(
                "cann_stub: importing torch_npu still %s" % ("misses " + library if library else "ends by a signal")
            )
        tried.add(library)
        if library:
            compile_library(EMPTY, os.path.join(folder, library), library)
            libraries.add(library)
        else:
            compile_library(c_source(names, NO_DEVICES), os.path.join(folder, HOLDER), HOLDER)
        library = opened(python, home)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--venv", "--home", "--version"):
        parser.add_argument(flag, required=True)
    arguments = parser.parse_args()
    libraries, names = wanted(arguments.venv)
    if HOLDER not in libraries:
        sys.exit("cann_stub: torch_npu is not linked to %s but to %s" % (HOLDER, ", ".join(sorted(libraries))))
    folder = os.path.join(arguments.home, "latest", "lib64")
    os.makedirs(folder)
    for package in PACKAGES:
        os.makedirs(os.path.join(arguments.home, "latest", package))
    for library in sorted(libraries):
        source = c_source(names) if library == HOLDER else EMPTY
        compile_library(source, os.path.join(folder, library), library)
    complete(os.path.join(arguments.venv, "bin", "python"), arguments.home, folder, libraries, names)
    with open(os.path.join(arguments.home, "set_env.sh"), "w") as file:
        file.write(SET_ENV.format(version=arguments.version, home=arguments.home))
    print("%d symbols, libraries: %s" % (len(names), ", ".join(sorted(libraries))))


if __name__ == "__main__":
    main()

"""lto.py: the interpreter was built as the expectations (JSON on standard input) say: with LTO and PGO, or without.

Asked twice, of what was recorded and of the binary itself:
- sysconfig: --with-lto and --enable-optimizations in CONFIG_ARGS, -flto in *_NODIST; neither in what extension modules
  inherit, and CC and CXX are gcc and g++.
- .GCC.command.line, written by -frecord-gcc-switches: the code of an LTO build comes from GCC's GIMPLE, by -fltrans.
- .symtab: statics of merged files are renamed by the link-time optimiser (.lto_priv); with a profile GCC splits the
  cold part off functions (.cold). CPython 3.11.2 has 10955 and 3360 of them with both, 0 and 15 with neither.

Standard library only; the ELF file is read by hand, because the image has no binutils.
"""

import json
import os
import re
import struct
import sys
import sysconfig

from _report import finish, report


class Elf:
    """Sections and symbols of a 64-bit ELF file of either byte order."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        if self.data[:5] != b"\x7fELF\x02":
            raise ValueError("not a 64-bit ELF file: " + path)
        self.end = "<" if self.data[5] == 1 else ">"
        (offset,) = struct.unpack_from(self.end + "Q", self.data, 40)
        size, count, names = struct.unpack_from(self.end + "HHH", self.data, 58)
        self.raw = [struct.unpack_from(self.end + "IIQQQQIIQQ", self.data, offset + i * size) for i in range(count)]
        self.sections = {self._text(self.raw[names][4] + section[0]): section for section in self.raw}

    def _text(self, start):
        return self.data[start : self.data.index(b"\0", start)].decode("utf-8", "replace")

    def content(self, name):
        section = self.sections.get(name)
        if section is None or section[1] == 8:  # SHT_NOBITS
            return b""
        return self.data[section[4] : section[4] + section[5]]

    def strings(self, name):
        return [text.decode("utf-8", "replace") for text in self.content(name).split(b"\0") if text]

    def symbols(self, name):
        """Yield the name of every symbol of a symbol table."""
        section = self.sections.get(name)
        if section is None:
            return
        start = self.raw[section[6]][4]  # sh_link: its string table
        for entry in struct.iter_unpack(self.end + "IBBHQQ", self.content(name)):
            yield self._text(start + entry[0])


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
optimised = expect["variant"] == "lto"
elf = Elf(image_path())
switches = " ".join(elf.strings(".GCC.command.line"))
names = set(elf.symbols(".symtab")) | set(elf.symbols(".dynsym"))
renamed = sum(".lto_priv" in name for name in names)
cold = sum(name.endswith(".cold") for name in names)

facts = {
    "LTO configured": "--with-lto" in variable("CONFIG_ARGS"),
    "LTO in PY_CFLAGS_NODIST": "-flto" in variable("PY_CFLAGS_NODIST"),
    "LTO in PY_LDFLAGS_NODIST": "-flto" in variable("PY_LDFLAGS_NODIST"),
    "LTO recorded in the binary": "-fltrans" in switches,
    "LTO renamed statics in the binary": renamed >= 1000,
    "PGO configured": "--enable-optimizations" in variable("CONFIG_ARGS"),
    "PGO split cold code off in the binary": cold >= 1000,
}
detail = {"renamed statics": renamed, "cold parts": cold, "switches recorded": bool(switches)}
for name, found in facts.items():
    # A stock build is checked as well: there the same facts must not hold.
    report(name if optimised else "not " + name, found == optimised, detail)

report("no profiling runtime left", not any(name.startswith("__gcov_") for name in names))
inherited = " ".join(map(variable, ("CFLAGS", "PY_CFLAGS", "LDFLAGS", "PY_LDFLAGS", "LDSHARED", "CC")))
report("extensions inherit neither LTO nor PGO", not re.search(r"-flto|-fprofile", inherited), inherited)
compilers = [variable("CC").split()[:1], variable("CXX").split()[:1]]
report("sysconfig names gcc and g++", compilers == [["gcc"], ["g++"]], compilers)
shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
report("libpython is shared" if expect["shared"] else "libpython is static", shared == expect["shared"])
finish()

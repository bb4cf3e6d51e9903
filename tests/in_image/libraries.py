"""libraries.py [--allow SONAME-GLOB]... [DIR]...: every DT_NEEDED of every ELF file below DIR resolves.

Own parser, no tool needed. A library resolves if the loader would find it: in the file's own RPATH/RUNPATH, the
loader's cache and standard folders, LD_LIBRARY_PATH, or (as dlopen does once a sibling is loaded) when a file of
that soname lies below one of the DIRs and `--siblings` is given. CUDA's driver is allowed: no image has it.
"""

import argparse
import fnmatch
import os
import struct
import subprocess

from _report import finish, report

DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 5, 14, 15, 29


def dynamic(path):
    """(needed, search path, soname) of a 64-bit little-endian ELF file, or None."""
    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return None
        machine = struct.unpack_from("<H", head, 18)[0]
        (phoff,) = struct.unpack_from("<Q", head, 32)
        phentsize, phnum = struct.unpack_from("<HH", head, 54)
        file.seek(phoff)
        table = file.read(phentsize * phnum)
        loads, where = [], None
        for i in range(phnum):
            kind, _, offset, vaddr, _, filesz = struct.unpack_from("<IIQQQQ", table, i * phentsize)
            if kind == 1:
                loads.append((vaddr, offset, filesz))
            elif kind == 2:
                where = (offset, filesz)
        if where is None:
            return [], [], None, machine
        file.seek(where[0])
        raw = file.read(where[1])
        entries = [struct.unpack_from("<qQ", raw, i) for i in range(0, len(raw) - 15, 16)]
        entries = entries[: next((i for i, e in enumerate(entries) if e[0] == 0), len(entries))]
        strtab = next((v for t, v in entries if t == DT_STRTAB), None)
        if strtab is None:
            return [], [], None, machine
        base = next(o + strtab - v for v, o, n in loads if v <= strtab < v + n)

        def text(offset):
            file.seek(base + offset)
            data = b""
            while b"\0" not in data:
                block = file.read(256)
                if not block:
                    break
                data += block
            return data.split(b"\0", 1)[0].decode()

        needed = [text(v) for t, v in entries if t == DT_NEEDED]
        search = [p for t, v in entries if t in (DT_RPATH, DT_RUNPATH) for p in text(v).split(":") if p]
        soname = next((text(v) for t, v in entries if t == DT_SONAME), None)
    return needed, search, soname, machine


def system_libraries():
    names = set()
    for ldconfig in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        if os.path.exists(ldconfig):
            out = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
            names |= {line.split()[0] for line in out.splitlines() if "=>" in line}
    machine = os.uname().machine
    folders = [
        "/lib",
        "/usr/lib",
        "/lib64",
        "/usr/lib64",
        "/usr/local/lib",
        f"/lib/{machine}-linux-gnu",
        f"/usr/lib/{machine}-linux-gnu",
    ]
    folders += [p for p in os.environ.get("LD_LIBRARY_PATH", "").split(":") if p]
    for folder in folders:
        if os.path.isdir(folder):
            names |= set(os.listdir(folder))
    return names


parser = argparse.ArgumentParser()
parser.add_argument("--allow", action="append", default=[])
parser.add_argument("--siblings", action="store_true")
parser.add_argument("dirs", nargs="*")
arguments = parser.parse_args()
dirs = arguments.dirs or ["/opt/venv", "/opt/python"]
own = os.uname().machine
own_machine = {"x86_64": 62, "aarch64": 183}.get(own)
system, parsed = system_libraries(), {}
for top in dirs:
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            try:
                parts = dynamic(path)
            except (StopIteration, struct.error, UnicodeDecodeError, OSError) as error:
                report(f"libraries {path}", False, f"not readable: {type(error).__name__} {error}")
                continue
            if parts is not None:
                parsed[path] = parts
below = {os.path.basename(p) for p in parsed} | {s for _, _, s, _ in parsed.values() if s}
missing, allowed, by_sibling, foreign = {}, {}, {}, []
for path, (needed, search, _, machine) in sorted(parsed.items()):
    if machine != own_machine:
        foreign.append(path)
        continue
    origin = os.path.dirname(os.path.realpath(path))
    folders = [p.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for p in search]
    for soname in needed:
        if soname in system or any(os.path.exists(os.path.join(f, soname)) for f in folders):
            continue
        if any(fnmatch.fnmatch(soname, pattern) for pattern in arguments.allow):
            allowed.setdefault(soname, []).append(path)
        elif arguments.siblings and soname in below:
            by_sibling.setdefault(soname, []).append(path)
        else:
            missing.setdefault(soname, []).append(path)
report(
    "libraries",
    bool(parsed) and not missing,
    {
        "dirs": dirs,
        "elf files": len(parsed),
        "missing": {k: v[:5] for k, v in missing.items()},
        "allowed": {k: len(v) for k, v in allowed.items()},
        "found as siblings": {k: len(v) for k, v in by_sibling.items()},
        "foreign machine": foreign[:5],
    },
)
finish()

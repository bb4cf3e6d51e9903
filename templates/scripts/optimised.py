"""Look after profiles, and prove what a compile with LTO and PGO has really made.

    optimised.py merge RAW --output FILE --profdata TOOL --processes N [--hot REGEX]...
    optimised.py check FILE --profdata TOOL --toolchain JSON [--sha256 HEX] [--hot REGEX]...
    optimised.py prove WHEELS --build FOLDER --log FILE --toolchain JSON --level L [--library REGEX]...

`merge` makes one profile of a folder of raw ones, `check` says whether a compiler can use one, `prove` looks into
the objects, the log and the libraries of a compile: a flag that was ignored would only make a slower image that is
called optimised. What is wrong is said in a sentence. Standard library only, Python 3.6 and newer.
"""

import argparse
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zipfile

RAW = re.compile(r"(?P<module>.+)_(?P<process>[0-9]+)\.profraw\Z")
"""What LLVM_PROFILE_FILE=%m_%p.profraw becomes: the library's signature, and the process."""
BITCODE = (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")
MISMATCH = re.compile(r"hash mismatch|profile data may be (?:out of date|corrupt)|profile-instr-out-of-date")
COUNTERS = "__llvm_prf_cnts"
HOT = ".text.hot"
AGAIN = "make one with `drivebuild profile`"


class WrongError(Exception):
    """A profile that cannot be used, or a compile that is not what it is called."""


# --- profiles -----------------------------------------------------------------------------------------


def tool(*words):
    """Return what a tool prints; its complaint is the error."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise WrongError(said[-1500:] or "%s ended with %d" % (words[0], done.returncode))
    return done.stdout


def functions(profdata, file):
    """Yield the name and the largest count of every function in a profile."""
    name = ""
    with tempfile.TemporaryFile("w+") as shown:
        words = (profdata, "show", "--all-functions", "--counts", file)
        done = subprocess.run(words, stdout=shown, stderr=subprocess.PIPE, universal_newlines=True)
        if done.returncode:
            raise WrongError(" ".join(done.stderr.split())[-1500:])
        shown.seek(0)
        for line in shown:
            if line.startswith("  ") and line[2:3] != " " and line.rstrip().endswith(":"):
                name = line.strip()[:-1]
            elif name and line.lstrip().startswith("Block counts:"):
                yield name, max([int(text) for text in re.findall(r"[0-9]+", line.partition("[")[2])] or [0])
                name = ""


def covered(profdata, file, hot):
    """Return how many functions a profile has and how many of them ran; what must be hot must have run."""
    names, ran = 0, 0
    left = {pattern: re.compile(pattern) for pattern in hot}
    for name, count in functions(profdata, file):
        names += 1
        if count:
            ran += 1
            left = {pattern: find for pattern, find in left.items() if not find.search(name)}
    if not ran:
        raise WrongError("it says of none of its %d functions that it ran" % names)
    if left:
        raise WrongError("it does not cover the hot functions: nothing ran that matches %s" % ", ".join(sorted(left)))
    return {"functions": names, "ran": ran}


def merge(arguments):
    """Make one profile; every process that ran must have left its part, whole."""
    names = sorted(name for name in os.listdir(arguments.raw) if name.endswith(".profraw"))
    if not names:
        raise WrongError("there is no raw profile: is the image instrumented, and did its processes end by themselves?")
    damaged, processes, modules = [], set(), {}
    for name in names:
        path = os.path.join(arguments.raw, name)
        match = RAW.match(name)
        if not os.path.getsize(path):
            damaged.append("%s is empty" % name)
            continue
        try:
            tool(arguments.profdata, "show", path)
        except WrongError as wrong:
            damaged.append("%s: %s" % (name, str(wrong).replace(path, "it")))
        if match:
            processes.add(match.group("process"))
            modules.setdefault(match.group("module"), set()).add(match.group("process"))
    if damaged:
        reason = "a process was killed while it wrote, the disk was full, or another compiler's library wrote it"
        raise WrongError(
            "%d of %d raw profiles are damaged (%s): %s" % (len(damaged), len(names), reason, "; ".join(damaged))
        )
    most = max(map(len, modules.values())) if modules else 0
    if most < arguments.processes:
        raise WrongError(
            "raw profiles of %d processes, and %d ran: a process that is killed, or ends without its exit handlers, "
            "leaves none" % (most, arguments.processes)
        )
    paths = [os.path.join(arguments.raw, name) for name in names]
    tool(arguments.profdata, "merge", "--output=" + arguments.output, *paths)
    found = covered(arguments.profdata, arguments.output, arguments.hot)
    return dict(
        found, raw=len(names), processes=len(processes), libraries=len(modules), sha256=digest(arguments.output)
    )


def check(arguments):
    """Say whether this compiler can use a profile: it is there, whole, the one that is meant, and of this compiler."""
    file = arguments.file
    if not os.path.isfile(file):
        raise WrongError("no profile was given: build with `drivebuild image MODEL --pgo=use`; " + AGAIN)
    if not os.path.getsize(file):
        raise WrongError("the profile is empty; " + AGAIN)
    found = digest(file)
    if arguments.sha256 and found != arguments.sha256:
        raise WrongError("the profile's sha256 is %s, and %s is meant" % (found, arguments.sha256))
    provenance = os.path.join(os.path.dirname(file), "provenance.json")
    if os.path.isfile(provenance):
        mine, theirs = load(arguments.toolchain), load(provenance).get("compiler", {})
        for key in ("version", "sha256"):
            if theirs.get(key) and theirs[key] != mine[key]:
                text = "the profile is another compiler's: %s %s, and this is %s %s; "
                words = (theirs.get("version"), theirs.get("sha256"), mine["version"], mine["sha256"])
                raise WrongError(text % words + AGAIN)
    try:
        counted = covered(arguments.profdata, file, arguments.hot)
    except WrongError as wrong:
        text = "this compiler cannot use the profile, which is truncated, damaged, or of another version: %s; "
        raise WrongError(text % str(wrong).replace(file, "it") + AGAIN) from None
    return dict(counted, sha256=found)


def digest(path):
    """Return the sha256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def load(path):
    """Return a JSON object."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


# --- what was compiled --------------------------------------------------------------------------------


def sections(data):
    """Return the content of each section of a 64-bit little-endian ELF file, by name."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise WrongError("no library of this machine")
    (start,), (size, count, names) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<HHH", data, 58)
    table = [struct.unpack_from("<IIQQQQ", data, start + size * number) for number in range(count)]
    first = table[names][4]
    return {
        data[first + entry[0] : data.index(b"\0", first + entry[0])].decode("utf-8", "replace"): (
            data[entry[4] : entry[4] + entry[5]] if entry[1] != 8 else b""
        )
        for entry in table
    }


def objects(folder):
    """Yield every object file that a compile left."""
    for place, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.endswith(".o"):
                yield os.path.join(place, name)


def prove_objects(folder):
    """Return how many object files there are; each must be intermediate code, for the linker to optimise."""
    wrong, count = [], 0
    for path in objects(folder):
        with open(path, "rb") as file:
            head = file.read(4)
        count += 1
        if head not in BITCODE:
            wrong.append(os.path.relpath(path, folder))
    if not count:
        raise WrongError("no object files in %s: what was compiled cannot be proved" % folder)
    if wrong:
        text = "LTO did not happen: %d of %d object files are machine code, such as %s"
        raise WrongError(text % (len(wrong), count, wrong[0]))
    return count


def prove_library(name, data, level, compiler):
    """One library: who made it, and whether it counts, or was laid out by counts."""
    found = sections(data)
    comment = found.get(".comment", b"").decode("utf-8", "replace")
    if compiler not in comment:
        said = ", ".join(text for text in comment.split("\0") if text) or "nothing"
        raise WrongError("%s was not compiled by %s: .comment has %s" % (name, compiler, said))
    if "LLD" not in comment:
        raise WrongError("%s was not linked by lld: no link-time optimisation" % name)
    if (COUNTERS in found) != (level == "instrument"):
        text = "%s has no counters: it was not instrumented" if level == "instrument" else "%s has counters: it is slow"
        raise WrongError(text % name)
    return {"size": len(data), "hot": len(found.get(HOT, b"")), "text": len(found.get(".text", b""))}


def prove(arguments):
    """Objects, log, libraries."""
    compiler = load(arguments.toolchain)["version"]
    with open(arguments.log, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if MISMATCH.search(line)]
    if lines:
        text = "the profile is of another source: %d functions have changed since; %s; the first: %s"
        raise WrongError(text % (len(lines), AGAIN, lines[0][:400]))
    count, libraries, wanted = prove_objects(arguments.build), {}, arguments.library
    for wheel in sorted(name for name in os.listdir(arguments.wheels) if name.endswith(".whl")):
        with zipfile.ZipFile(os.path.join(arguments.wheels, wheel)) as archive:
            for name in archive.namelist():
                asked = not wanted or any(re.search(each, name) for each in wanted)
                if asked and re.search(r"\.so(\.[0-9.]+)?\Z", name):
                    libraries[name] = prove_library(name, archive.read(name), arguments.level, compiler)
    lacking = [each for each in wanted if not any(re.search(each, name) for name in libraries)]
    if not libraries or lacking:
        raise WrongError("no wheel in %s has a library %s" % (arguments.wheels, ", ".join(lacking)))
    if arguments.level == "use" and not any(each["hot"] for each in libraries.values()):
        raise WrongError("the profile was not used: none of %s has %s" % (", ".join(libraries), HOT))
    return {"compiler": compiler, "level": arguments.level, "objects": count, "libraries": libraries}


def main(words):
    """Do what the words say; print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    one, two, three = (commands.add_parser(name) for name in ("merge", "check", "prove"))
    one.add_argument("raw")
    one.add_argument("--output", required=True)
    one.add_argument("--processes", type=int, default=1)
    two.add_argument("file")
    two.add_argument("--sha256", default="")
    for each in (one, two):
        each.add_argument("--profdata", required=True)
        each.add_argument("--hot", action="append", default=[])
    three.add_argument("wheels")
    for name in ("--build", "--log"):
        three.add_argument(name, required=True)
    three.add_argument("--level", choices=("lto", "instrument", "use"), required=True)
    three.add_argument("--library", action="append", default=[])
    for each in (two, three):
        each.add_argument("--toolchain", required=True)
    arguments = parser.parse_args(words)
    try:
        found = {"merge": merge, "check": check, "prove": prove}[arguments.command](arguments)
    except (WrongError, OSError) as wrong:
        sys.exit("optimised: %s" % wrong)
    print(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1:])

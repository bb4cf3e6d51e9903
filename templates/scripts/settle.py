"""Leave an environment as every build of it would: the same bytes, and nothing twice.

    PYTHONHASHSEED=0 python -B settle.py VENV

What is installed brings test suites that no job runs, and uv's notes about when a local file was changed; both go, from
each RECORD too. Byte code comes from this one process, with a fixed seed, checked by the hash of its source and not by
a time. Only what has none, or none of its source, is compiled: compileall writes all that is checked by a hash
again, and an image would carry that of every earlier layer once more in each later one.

The interpreter's own byte code is no business of this, hence -B. Standard library only.
"""

import csv
import importlib.util
import os
import py_compile
import shutil
import sys

# Named so everywhere. A `test` may be a module that something imports.
SUITE = "tests"
NOTE = "uv_cache.json"
CHECKED = b"\x03\x00\x00\x00"


def unwanted(path):
    """Return whether RECORD's `path` is one that goes: it is a note, or in the folder of a suite."""
    *folders, name = path.split("/")
    return name == NOTE or SUITE in folders


def clean(venv):
    """Remove suites and notes."""
    for top, folders, names in os.walk(venv):
        if SUITE in folders and not os.path.islink(os.path.join(top, SUITE)):
            shutil.rmtree(os.path.join(top, SUITE))
            folders.remove(SUITE)
        if NOTE in names:
            os.unlink(os.path.join(top, NOTE))


def true_record(path):
    """Write a RECORD without what is gone. One that names nothing of it is not touched: that would store it again."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = file.readlines()
    kept = [line for line in lines if not any(unwanted(row[0]) for row in csv.reader([line]) if row)]
    if kept != lines:
        with open(path, "w", newline="", encoding="utf-8") as file:
            file.writelines(kept)


def compiled(source):
    """Return whether `source` has byte code of this Python that is checked by the hash of its source, and is of it."""
    try:
        with open(importlib.util.cache_from_source(source), "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    if head[:8] != importlib.util.MAGIC_NUMBER + CHECKED:
        return False
    with open(source, "rb") as file:
        return head[8:] == importlib.util.source_hash(file.read())


def settle(venv):
    """Return (compiled, left as they were, not to be compiled) of the environment's sources."""
    clean(venv)
    done = {True: 0, False: 0, None: 0}
    for top, folders, names in os.walk(os.path.join(venv, "lib")):
        folders.sort()
        if top.endswith(".dist-info") and "RECORD" in names:
            true_record(os.path.join(top, "RECORD"))
        for name in sorted(names):
            source = os.path.join(top, name)
            if not name.endswith(".py"):
                continue
            if compiled(source):
                done[False] += 1
                continue
            try:
                py_compile.compile(
                    source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH, optimize=0
                )
                done[True] += 1
            except (py_compile.PyCompileError, OSError, ValueError) as error:
                # Templates and sources for another Python; the whole would not be refused for them.
                done[None] += 1
                print("no byte code:", error)
    return done[True], done[False], done[None]


print("byte code: %d files compiled, %d had it, %d cannot have it" % settle(sys.argv[1]))

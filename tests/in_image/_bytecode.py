"""What byte code files say of themselves: how they are tied to their source, and whether they are of it."""

import _imp
import importlib.util
import os
import struct

TIMESTAMP, CHECKED, UNCHECKED = "by time stamp", "by hash, checked", "by hash, unchecked"


def kind(data):
    """Return how a byte code file is tied to its source, or what is wrong with it."""
    if len(data) < 16:
        return "truncated"
    if data[:4] != importlib.util.MAGIC_NUMBER:
        return "of another Python"
    (flags,) = struct.unpack_from("<I", data, 4)
    return {0: TIMESTAMP, 1: UNCHECKED, 3: CHECKED}.get(flags, "with flags %d" % flags)


def belongs(data, source):
    """Return whether byte code with a hash was compiled from this source."""
    return data[8:16] == _imp.source_hash(int.from_bytes(importlib.util.MAGIC_NUMBER, "little"), source)


def uncompiled(folder):
    """Yield (path, why) of sources that are compiled at every start: their byte code is missing, or not their own."""
    for top, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(top, name)
            if not name.endswith(".py"):
                continue
            try:
                with open(path, "rb") as file:
                    source = file.read()
            except OSError:
                continue  # a link to nothing
            try:
                with open(importlib.util.cache_from_source(path), "rb") as file:
                    data = file.read(16)
                hashed = kind(data) in (CHECKED, UNCHECKED)
                why = "" if hashed and belongs(data, source) else "its byte code is not its own"
            except OSError:
                why = "no byte code"
            if why and can_be_compiled(source, path):
                yield path, why


def can_be_compiled(source, path):
    """Return whether this Python takes a source; packages bring templates, and files for other Pythons."""
    try:
        compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def complaints(folder):
    """Yield (path, what is wrong) of byte code that is not the same in every build, or not its source's."""
    for top, _, names in os.walk(folder):
        if os.path.basename(top) != "__pycache__":
            continue
        for name in sorted(names):
            path = os.path.join(top, name)
            with open(path, "rb") as file:
                data = file.read()
            if kind(data) != UNCHECKED:
                yield path, kind(data)
                continue
            try:
                with open(importlib.util.source_from_cache(path), "rb") as file:
                    source = file.read()
            except (OSError, ValueError) as error:
                yield path, "without a source: %s" % error
                continue
            if not belongs(data, source):
                yield path, "of another source"

"""Compile what an overlay brings, as settle.py compiles an environment: checked by the hash of its source.

    PYTHONHASHSEED=0 python -B byte_code.py OVERLAY SITE-PACKAGES

Laid over the wheel, a changed file has the byte code of the one that it replaces. Python sees that by the hash, and
compiles the file at every start, since nobody may write there. SITE-PACKAGES is where the files will lie: code has its
path in it. One process, sorted names and a fixed seed: the same bytes in every build. Standard library only.
"""

import importlib.util
import os
import py_compile
import sys


def compile_all(overlay, site):
    """Return the number of sources that were compiled, and of those that cannot be."""
    done, refused = 0, 0
    for top, folders, names in os.walk(overlay):
        folders.sort()
        for name in sorted(names):
            source = os.path.join(top, name)
            if not name.endswith(".py"):
                continue
            try:
                py_compile.compile(
                    source,
                    cfile=importlib.util.cache_from_source(source),
                    dfile=os.path.join(site, os.path.relpath(source, overlay)),
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
                    optimize=0,
                )
                done += 1
            except (py_compile.PyCompileError, ValueError) as error:
                # As in settle.py: what is a template, or for another Python, is not refused for that.
                refused += 1
                print("no byte code:", error)
    return done, refused


if __name__ == "__main__":
    print("byte code: %d files compiled, %d cannot have it" % compile_all(*sys.argv[1:]))

"""versions.py [JSON]: exact versions, {"distribution": "version"} on argv or stdin; "python" is the interpreter's own.

A value may be null: the distribution must not be there.
"""

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from _report import finish, report

wanted = json.loads(sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read())
if not wanted:
    report("versions", False, "nothing was asked for")
for name, expected in sorted(wanted.items()):
    if name == "python":
        found = platform.python_version()
    else:
        try:
            found = version(name)
        except PackageNotFoundError:
            found = None
    report(f"version {name}", found == expected, {"expected": expected, "found": found})
finish()

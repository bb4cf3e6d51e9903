"""pip_check.py [FILE|-]: `pip check` complains of exactly the lines of FILE (none without one)."""

import os
import subprocess
import sys

from _report import finish, report

expected = set()
if len(sys.argv) > 1:
    source = sys.stdin if sys.argv[1] == "-" else open(sys.argv[1], encoding="utf-8")
    expected = {line.strip() for line in source if line.strip() and not line.startswith("#")}
run = subprocess.run(
    [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
    check=False,
    capture_output=True,
    text=True,
    env={**os.environ, "PIP_NO_COLOR": "1"},
)
found = {line.strip() for line in run.stdout.splitlines() if line.strip()} - {"No broken requirements found."}
usable = run.returncode == (1 if found else 0)
report(
    "pip check",
    usable and found == expected,
    {
        "unexpected": sorted(found - expected),
        "gone": sorted(expected - found),
        "known": len(found & expected),
        "stderr": run.stderr[-500:],
    },
)
finish()

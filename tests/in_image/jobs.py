"""jobs.py: what drivebuild-job needs: the table of jobs, links to the mounts, a folder of the model that a user of the
group may write to; and it says what is missing.

The expectations are JSON on standard input.
"""

import json
import os
import subprocess
import sys
import tempfile

from _report import finish, guard, report

TABLE = "/opt/drivebuild/jobs.json"


def call(*words):
    result = subprocess.run(["drivebuild-job", *words], capture_output=True, text=True, check=False, timeout=60)
    return result.returncode, result.stdout + result.stderr


def writable(folder):
    with tempfile.TemporaryDirectory(dir=folder):
        return folder


def main():
    expect = json.load(sys.stdin)
    with open(TABLE, encoding="utf-8") as file:
        table = json.load(file)
    report("table of jobs", table == expect["jobs"], {"jobs": sorted(table["jobs"])})
    wrong = {
        path: os.readlink(path) if os.path.islink(path) else "no link"
        for path, target in expect["links"].items()
        if not os.path.islink(path) or os.readlink(path) != target
    }
    # A model may have none.
    report("links to data, weights and outputs", not wrong, wrong or {"links": len(expect["links"])})
    for name, job in table["jobs"].items():
        folder = os.path.join(table["workspace"], job["directory"])
        guard(f"folder of {name}", lambda folder=folder: writable(folder))
    code, said = call("--help")
    report("drivebuild-job lists the jobs", code == 0 and all(name in said for name in table["jobs"]), said)
    code, said = call("no-such-job")
    report("drivebuild-job refuses what is no job", code == 125 and "no-such-job" in said, said)
    needy = next((name for name, job in table["jobs"].items() if job["data"]), None)
    if needy:
        code, said = call(needy)
        report(f"drivebuild-job says what {needy} lacks", code == 125 and "cannot start" in said, said)
    finish()


if __name__ == "__main__":
    main()

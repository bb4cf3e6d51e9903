#!/usr/bin/env bash
# What the job did, from its build records, on the run's page.
set -euo pipefail
python3 - >> "$GITHUB_STEP_SUMMARY" << 'END'
import json
import pathlib

print("| image | outcome | minutes | stages run | cached | digest |")
print("| --- | --- | --- | --- | --- | --- |")
for path in sorted(pathlib.Path("out/state").rglob("record.json")):
    record = json.loads(path.read_text())
    states = [stage["state"] for stage in record["stages"]]
    counts = states.count("done"), states.count("cached")
    cells = [f"`{record['tag']}`", record["outcome"], round(record["seconds"] / 60, 1), *counts, f"`{record['digest'][:19]}`"]
    print("|", " | ".join(map(str, cells)), "|")
END

#!/usr/bin/env bash
# Where everything could be moved to. What is younger than a week stays out: by then a package that was tampered with is
# usually found out.
set -euo pipefail
words=(lock --update --write --json --exclude-newer "$(date --utc --date '7 days ago' +%F)")
if [ -n "${DRIVEBUILD_MODEL:-}" ]; then
    words+=(--model "$DRIVEBUILD_MODEL")
fi
mkdir -p out
drivebuild "${words[@]}" > out/proposal.json
python3 -c 'import json; print(json.load(open("out/proposal.json"))["body"])' > out/body.md
drivebuild render
drivebuild lock --check
git add --all -- . ':!out'
git diff --cached --binary > out/change.patch
if [ -n "${GITHUB_OUTPUT:-}" ]; then
    changed=false
    if [ -s out/change.patch ]; then
        changed=true
    fi
    echo "changed=$changed" >> "$GITHUB_OUTPUT"
    cat out/body.md >> "$GITHUB_STEP_SUMMARY"
fi

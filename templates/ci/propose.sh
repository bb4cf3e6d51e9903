#!/usr/bin/env bash
# Where everything could be moved to. What is younger than a week stays out: by then a package that was tampered with is
# usually found out.
set -euo pipefail
# A source archive without a wheel is asked what it needs in a container of this base. mmdebstrap needs root, or user
# namespaces, which Ubuntu keeps from programs that it does not know.
as_root=(env)
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo env)
fi
if ! command -v mmdebstrap > /dev/null; then
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install --yes --no-install-recommends mmdebstrap debian-archive-keyring
fi
"${as_root[@]}" "PATH=$PATH" drivebuild base debian-12-cpu
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

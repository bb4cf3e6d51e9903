#!/usr/bin/env bash
# The commit of the last run that did all of its work: what a later one failed at, or was overtaken with, is built, too.
set -euo pipefail
since=$(gh run list --workflow images.yml --branch "$GITHUB_REF_NAME" --event push --status success --limit 1 \
    --json headSha --jq '.[].headSha')
echo "since=$since" >> "$GITHUB_OUTPUT"

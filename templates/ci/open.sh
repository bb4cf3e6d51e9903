#!/usr/bin/env bash
# The other job's change as a commit; only where a proposal has to do with files.
set -euo pipefail
# A link would be read on this side, where there is a token in the environment.
for path in out out/change.patch out/proposal.json out/body.md; do
    if [ -L "$path" ]; then
        echo "$path is a link, and no proposal" >&2
        exit 1
    fi
done
git apply --index out/change.patch
folders="builder/recipes|dockerfiles|compose|schemas${DRIVEBUILD_RECIPES:+|$DRIVEBUILD_RECIPES}"
if git diff --cached --name-only | grep -Ev "^($folders)/"; then
    echo "the change touches files that no proposal touches; see above" >&2
    exit 1
fi
title=$(python3 -c 'import json; print(json.load(open("out/proposal.json"))["title"])')
git -c "user.name=$GIT_NAME" -c "user.email=$GIT_EMAIL" commit --quiet --message "$title"

#!/usr/bin/env bash
# The other job's change as a branch and a pull request; only where a proposal has to do with files.
set -euo pipefail
git apply --index out/change.patch
folders="builder/recipes|dockerfiles|compose|schemas${DRIVEBUILD_RECIPES:+|$DRIVEBUILD_RECIPES}"
if git diff --cached --name-only | grep -Ev "^($folders)/"; then
    echo "the change touches files that no proposal touches; see above" >&2
    exit 1
fi
title=$(python3 -c 'import json; print(json.load(open("out/proposal.json"))["title"])')
git -c "user.name=$GIT_NAME" -c "user.email=$GIT_EMAIL" commit --quiet --message "$title"
gh auth setup-git
git push --force origin "HEAD:refs/heads/$DRIVEBUILD_BRANCH"
number=$(gh pr list --head "$DRIVEBUILD_BRANCH" --state open --json number --jq '.[].number')
if [ -n "$number" ]; then
    gh pr edit "$number" --title "$title" --body-file out/body.md
else
    gh pr create --head "$DRIVEBUILD_BRANCH" --title "$title" --body-file out/body.md
fi

#!/usr/bin/env bash
gh auth setup-git
git push --force origin "HEAD:refs/heads/$DRIVEBUILD_BRANCH"
number=$(gh pr list --head "$DRIVEBUILD_BRANCH" --state open --json number --jq '.[].number')
if [ -n "$number" ]; then
    gh pr edit "$number" --title "$title" --body-file out/body.md
else
    gh pr create --head "$DRIVEBUILD_BRANCH" --title "$title" --body-file out/body.md
fi

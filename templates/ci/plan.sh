#!/usr/bin/env bash
# What is to be built: the images that the filters leave, or those of them that changed since a commit.
set -euo pipefail
read -r -a filters <<< "$DRIVEBUILD_FILTER"
read -r -a runners <<< "$DRIVEBUILD_RUNNERS"
words=()
if [ -d out/past ]; then
    words=(--timings out/past)
fi
for filter in "${filters[@]}"; do
    words+=(--filter "$filter")
done
for runner in "${runners[@]}"; do
    words+=(--runner "$runner")
done
# At first there is no such commit, and after a forced push it may be there no more: then all are built.
if [ -n "$DRIVEBUILD_SINCE" ] && git cat-file -e "$DRIVEBUILD_SINCE^{commit}" 2> /dev/null; then
    words+=(--since "$DRIVEBUILD_SINCE")
fi

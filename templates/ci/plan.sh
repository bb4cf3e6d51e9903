#!/usr/bin/env bash
# What is to be built: the images that the filters leave, or those of them that changed since a commit.
set -euo pipefail
words=()
for filter in $DRIVEBUILD_FILTER; do
    words+=(--filter "$filter")
done
# A first push has no commit before it, and a forced one a commit that is not there any more: then all are built.
if [ -n "$DRIVEBUILD_SINCE" ] && git cat-file -e "$DRIVEBUILD_SINCE^{commit}" 2> /dev/null; then
    words+=(--since "$DRIVEBUILD_SINCE")
fi
for runner in $DRIVEBUILD_RUNNERS; do
    words+=(--runner "$runner")
done

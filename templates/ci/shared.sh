#!/usr/bin/env bash
# Stages that several images stand on, into the registry's cache. A cache is named after all that its stage depends on, the
# base's digest too, so one that is there has not to be made again.
set -euo pipefail
suffix=
if [ -n "$DRIVEBUILD_BASE_ID" ] && [ -f "out/$DRIVEBUILD_BASE_ID" ]; then
    digest=$(sed 's/.*@sha256://' "out/$DRIVEBUILD_BASE_ID")
    suffix=-${digest:0:12}
fi
while IFS=$'\t' read -r arguments cache moving <&3; do
    if [ -z "$arguments" ]; then
        continue
    fi
    ref=$DRIVEBUILD_REGISTRY/cache:$cache$suffix
    if docker buildx imagetools inspect "$ref" > /dev/null 2>&1; then
        echo "$ref is there"
        continue
    fi
    read -r -a words <<< "$arguments"
    # The name that moves has what the last one left: all steps that did not change.
    drivebuild image "${words[@]}" --cache-from "$DRIVEBUILD_REGISTRY/cache:$moving" \
        --cache-to "$ref" --cache-to "$DRIVEBUILD_REGISTRY/cache:$moving"
done 3<<< "$DRIVEBUILD_BUILDS"

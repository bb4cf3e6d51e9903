#!/usr/bin/env bash
# One image: built, verified, and only then pushed; `merge` gives it its name when all architectures are there.
set -euo pipefail
read -r -a words <<< "$DRIVEBUILD_ARGUMENTS"
caches=()
if [ -n "$DRIVEBUILD_REGISTRY" ]; then
    suffix=
    if [ -n "$DRIVEBUILD_BASE_ID" ] && [ -f "out/$DRIVEBUILD_BASE_ID" ]; then
        digest=$(sed 's/.*@sha256://' "out/$DRIVEBUILD_BASE_ID")
        suffix=-${digest:0:12}
    fi
    caches=(--cache-from "$DRIVEBUILD_REGISTRY/cache:$DRIVEBUILD_CACHE_TO")
    for tag in $DRIVEBUILD_CACHE_FROM; do
        caches+=(--cache-from "$DRIVEBUILD_REGISTRY/cache:$tag$suffix")
    done
fi
keeps=()
if [ "$DRIVEBUILD_PUSH" = true ]; then
    keeps=(--cache-to "$DRIVEBUILD_REGISTRY/cache:$DRIVEBUILD_CACHE_TO")
fi
mkdir -p out
drivebuild image "${words[@]}" "${caches[@]}" "${keeps[@]}"
if ! drivebuild verify "${words[@]}" --json > "out/$DRIVEBUILD_ID.verified.json"; then
    cat "out/$DRIVEBUILD_ID.verified.json"
    exit 1
fi
if [ "$DRIVEBUILD_PUSH" = true ]; then
    # Everything is cached by now.
    drivebuild image "${words[@]}" "${caches[@]}" --push "$DRIVEBUILD_REGISTRY" --by-digest \
        --pushed "out/$DRIVEBUILD_ID.pushed.json"
    cat "out/$DRIVEBUILD_ID.pushed.json"
fi

#!/usr/bin/env bash
# One name for an image's architectures. It moves when all of them were built and verified, or not at all.
set -euo pipefail
digests=()
for id in $DRIVEBUILD_IDS; do
    if ! [ -s "out/$id.pushed.json" ]; then
        echo "$DRIVEBUILD_MODEL:$DRIVEBUILD_TAG stays as it is: $id was not built" >&2
        exit 1
    fi
    digests+=("$(sed -n 's/.*"digest": *"\(sha256:[0-9a-f]\{64\}\)".*/\1/p' "out/$id.pushed.json")")
done
drivebuild merge "$DRIVEBUILD_REGISTRY/$DRIVEBUILD_MODEL:$DRIVEBUILD_TAG" "${digests[@]}"

#!/usr/bin/env bash
# What this machine knows of the builder goes; what runs there stays, with its cache, for the next job.
set -euo pipefail
docker buildx rm --keep-daemon --force "$DRIVEBUILD_BUILDER" || echo "there is no builder to forget"
rm -rf "${RUNNER_TEMP:-/tmp}/${DRIVEBUILD_BUILDER:?}"

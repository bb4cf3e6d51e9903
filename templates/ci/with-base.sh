#!/usr/bin/env bash
# The base image under the name that Dockerfiles have: the one that was made for all jobs, or one made here.
set -euo pipefail
as_root=(env)
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo env)
fi
if [ -z "$DRIVEBUILD_BASE" ]; then
    echo "the base image comes from a registry"
elif [ -f "out/$DRIVEBUILD_BASE_ID" ]; then
    base=$(< "out/$DRIVEBUILD_BASE_ID")
    docker pull --quiet "$base"
    docker tag "$base" "$DRIVEBUILD_BASE"
else
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install --yes --no-install-recommends mmdebstrap debian-archive-keyring
    "${as_root[@]}" "PATH=$PATH" drivebuild base "$DRIVEBUILD_PLATFORM"
fi

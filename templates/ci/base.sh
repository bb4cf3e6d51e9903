#!/usr/bin/env bash
# A base image that is made of the distribution's packages: once for all jobs, so that all of them build on the same one.
# Without a fresh one the one in the registry stays, and with it everything in the cache.
set -euo pipefail
as_root=(env)
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo env)
fi
base=$DRIVEBUILD_REGISTRY/base:$DRIVEBUILD_BASE_REF
if [ "$DRIVEBUILD_FRESH" = true ] || ! docker pull --quiet "$base"; then
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install --yes --no-install-recommends mmdebstrap debian-archive-keyring
    # mmdebstrap needs root, or user namespaces, which Ubuntu keeps from programs that it does not know.
    "${as_root[@]}" "PATH=$PATH" drivebuild base "$DRIVEBUILD_PLATFORM" --rebuild
    docker tag "$DRIVEBUILD_BASE" "$base"
    docker push --quiet "$base"
fi
digests=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$base")
mkdir -p out
grep -m 1 -F "$DRIVEBUILD_REGISTRY/base@sha256:" <<< "$digests" > "out/$DRIVEBUILD_BASE_ID"
cat "out/$DRIVEBUILD_BASE_ID"

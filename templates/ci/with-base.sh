#!/usr/bin/env bash
# The base image under the name that Dockerfiles have: the one that was made for all jobs, or the registry's where anybody
# may read it, or one made here.
set -euo pipefail
as_root=(env)
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo env)
fi
made=out/$DRIVEBUILD_BASE_ID
public=${DRIVEBUILD_REGISTRY:+$DRIVEBUILD_REGISTRY/base:${DRIVEBUILD_BASE_ID#base-}}
mkdir -p out
if [ -z "$DRIVEBUILD_BASE" ]; then
    echo "the base image comes from a registry"
elif [ -f "$made" ]; then
    base=$(< "$made")
    docker pull --quiet "$base"
    docker tag "$base" "$DRIVEBUILD_BASE"
elif [ -n "$public" ] && docker pull --quiet "$public"; then
    docker tag "$public" "$DRIVEBUILD_BASE"
    # What is cached is named after it.
    digests=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$public")
    grep -m 1 -F "$DRIVEBUILD_REGISTRY/base@sha256:" <<< "$digests" > "$made"
else
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install --yes --no-install-recommends mmdebstrap debian-archive-keyring
    "${as_root[@]}" "PATH=$PATH" drivebuild base "$DRIVEBUILD_PLATFORM"
fi

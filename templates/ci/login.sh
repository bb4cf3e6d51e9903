#!/usr/bin/env bash
# The site's registry, or this project's own with the job's own credentials.
set -euo pipefail
host=${DRIVEBUILD_REGISTRY%%/*}
user=${DRIVEBUILD_REGISTRY_USER:-} password=${DRIVEBUILD_REGISTRY_PASSWORD:-}
if [ -z "$password" ] && [ "$host" = "${CI_REGISTRY:-}" ]; then
    user=$CI_REGISTRY_USER password=$CI_REGISTRY_PASSWORD
fi
docker login --username "$user" --password-stdin "$host" <<< "$password"

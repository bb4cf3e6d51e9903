#!/usr/bin/env bash
# What the jobs need, of a Debian image; an image that has all of it is quicker.
set -euo pipefail
if ! { command -v docker && command -v git && command -v mmdebstrap; } > /dev/null; then
    apt-get update -qq
    apt-get install --yes --no-install-recommends ca-certificates docker-buildx docker-cli git mmdebstrap python3-venv
fi

#!/bin/bash
# Prepares the environment of one command and becomes it. Preloads the allocator for that command only:
# a preload in ENV would reach every `docker exec`, package manager and health check as well.
set -euo pipefail

# An image whose CANN is a stand-in has this list: the platform it stands in for, then the scripts that want an NPU.
if [ -s /opt/drivebuild/refused ]; then
    {
        read -r platform || platform=
        while read -r script; do
            # As a word of its own, or at the end of a path; within `bash -c '...'` as well.
            edge="[[:space:]\"';&|()]"
            if [ -n "$script" ] && [[ " $* " =~ (/|$edge)"$script"$edge ]]; then
                echo "drivebuild: this image cannot run $script: its CANN is a link-only stand-in, good for imports," \
                    "compiling and checks. Build the model for $platform and run that image on a machine with NPUs." >&2
                exit 125
            fi
        done
    } < /opt/drivebuild/refused
fi

# Under `docker run --user` the uid may have no passwd entry and no home.
if [ ! -d "${HOME:-/}" ] || [ ! -w "${HOME:-/}" ]; then
    HOME=$(mktemp -d "/tmp/home-$(id -u)-XXXXXX")
    export HOME
fi
# getpass.getuser() reads these first; torch's caches call it.
export USER="${USER:-drivebuild}" LOGNAME="${LOGNAME:-drivebuild}"

if [ -n "${DRIVEBUILD_CANN_HOME:-}" ] && [ -r "$DRIVEBUILD_CANN_HOME/set_env.sh" ]; then
    # set_env.sh reads variables that may be unset.
    set +u
    # shellcheck disable=SC1091
    source "$DRIVEBUILD_CANN_HOME/set_env.sh"
    set -u
fi

preload=()
for library in ${DRIVEBUILD_PRELOAD:-}; do
    if [ ! -r "$library" ]; then
        echo "drivebuild: cannot preload $library: no such file" >&2
        exit 125
    fi
    preload+=("$library")
done
if [ "${#preload[@]}" -gt 0 ]; then
    if [ "$(uname -m)" = aarch64 ]; then
        # There torch's libgomp fails with "cannot allocate memory in static TLS block" unless it is loaded first.
        for library in /opt/venv/lib/python*/site-packages/torch.libs/libgomp*.so*; do
            [ ! -r "$library" ] || preload=("$library" "${preload[@]}")
        done
    fi
    joined=$(IFS=:; echo "${preload[*]}")
    export LD_PRELOAD="$joined${LD_PRELOAD:+:$LD_PRELOAD}"
fi

if [ "$#" -eq 0 ]; then
    set -- bash
fi
exec "$@"

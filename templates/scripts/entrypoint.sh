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

# What the caller says, or what the image was made with; an empty variable says nothing, compose makes such ones.
allocator=${DRIVEBUILD_ALLOCATOR:-${DRIVEBUILD_DEFAULT_ALLOCATOR:-none}}
case "$allocator" in
    none) ;;
    tcmalloc | jemalloc)
        library=/opt/drivebuild/lib$allocator.so
        # ld.so would only warn, and run the command without it.
        if [ ! -r "$library" ]; then
            echo "drivebuild: this image has no $allocator (DRIVEBUILD_ALLOCATOR): $library is missing." \
                "Models whose recipe says \`tcmalloc: true\` have one; DRIVEBUILD_ALLOCATOR=none takes the C library's." >&2
            exit 125
        fi
        preload=$library
        case "$(uname -m)" in
            aarch64)
                # For thread-local storage of the static kind, of libraries that come later, a process has a small
                # reserve. There torch's libgomp was seen to find none left: "cannot allocate memory in static TLS
                # block". What is loaded at the start takes nothing of the reserve.
                for library in /opt/venv/lib/python*/site-packages/torch.libs/libgomp*.so*; do
                    [ ! -r "$library" ] || preload=$library:$preload
                done
                ;;
        esac
        export LD_PRELOAD="$preload${LD_PRELOAD:+:$LD_PRELOAD}"
        ;;
    *)
        echo "drivebuild: DRIVEBUILD_ALLOCATOR is '$allocator', and there are tcmalloc, jemalloc and none" >&2
        exit 125
        ;;
esac

if [ "$#" -eq 0 ]; then
    set -- bash
fi
exec "$@"

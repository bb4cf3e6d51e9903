#!/usr/bin/env bash
# The site's builder for machines like this one: what drivebuild builds with from here on. Whoever has its keys is root in
# its containers, so no job of a stranger's gets here.
set -euo pipefail
keys=${RUNNER_TEMP:-/tmp}/$DRIVEBUILD_BUILDER
keep() {
    local value=${!1:-}
    if [ -z "$value" ]; then
        echo "the secret $1 is not there" >&2
        exit 1
    elif [ -f "$value" ]; then
        # A variable of GitLab's type "file" is the path of one.
        value=$(< "$value")
    fi
    (umask 077 && printf '%s\n' "$value" > "$keys/$2")
}
found=false
while read -r machine driver place options <&3; do
    if [ "$machine" != "$(uname -m)" ]; then
        continue
    fi
    found=true
    # A folder that is there already is somebody else's.
    (umask 077 && mkdir "$keys")
    words=(--name "$DRIVEBUILD_BUILDER" --driver "$driver")
    if [ "$driver" = kubernetes ]; then
        keep DRIVEBUILD_BUILDER_KUBECONFIG kubeconfig
        export KUBECONFIG=$keys/kubeconfig
        # All jobs of an architecture meet in one Deployment: this is its name.
        words+=(--node "drivebuild-${machine//_/-}")
        if [ "$place" != - ]; then
            words+=(--buildkitd-config "$place")
        fi
        place=
    elif [ "${place#unix:}" = "$place" ]; then
        keep DRIVEBUILD_BUILDER_CA ca.pem
        keep DRIVEBUILD_BUILDER_CERT cert.pem
        keep DRIVEBUILD_BUILDER_KEY key.pem
        options+=" cacert=$keys/ca.pem cert=$keys/cert.pem key=$keys/key.pem"
    fi
    for option in $options; do
        # Its values are CSV: in quotes a comma is one.
        words+=(--driver-opt "\"$option\"")
    done
    docker buildx create "${words[@]}" ${place:+"$place"}
    # Two jobs that start the same pods at once: one is told that they are there.
    tries=3
    until docker buildx inspect --bootstrap "$DRIVEBUILD_BUILDER"; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ]; then
            exit 1
        fi
        sleep 5
    done
    export BUILDX_BUILDER=$DRIVEBUILD_BUILDER
    if [ -n "${GITHUB_ENV:-}" ]; then
        echo "BUILDX_BUILDER=$DRIVEBUILD_BUILDER" >> "$GITHUB_ENV"
    fi
done 3<<< "$DRIVEBUILD_BUILDERS"
if [ "$found" = false ]; then
    echo "for $(uname -m) no builder is named: this machine builds"
fi

#!/usr/bin/env bash
# Room for large images, and containerd's image store: with it the engine exports caches and pushes by digest itself, and
# a base image that was made on the machine can be built on. Only what GitHub puts on its own runners is removed.
set -euo pipefail
if [ "${RUNNER_ENVIRONMENT:-}" = github-hosted ]; then
    sudo rm -rf /usr/local/lib/android /usr/share/dotnet /usr/share/swift /usr/local/.ghcup /opt/ghc \
        /opt/hostedtoolcache/CodeQL
    sudo python3 -c 'import json, pathlib
path = pathlib.Path("/etc/docker/daemon.json")
settings = json.loads(path.read_text()) if path.exists() else {}
settings.setdefault("features", {})["containerd-snapshotter"] = True
path.write_text(json.dumps(settings))'
    sudo systemctl restart docker
fi
df -h / | tail -n 1
docker version --format 'engine {{.Server.Version}}'
if ! docker info --format '{{json .DriverStatus}}' | grep -q io.containerd; then
    echo "this runner's engine lacks containerd's image store, which caches and digests need:" >&2
    echo '{"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json, and a restart' >&2
    exit 1
fi

#!/usr/bin/env bash
# drivebuild of this very commit, run from the checkout.
set -euo pipefail
venv=${RUNNER_TEMP:-/tmp}/drivebuild
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable . uv
export PATH=$venv/bin:$PATH
if [ -n "${GITHUB_PATH:-}" ]; then
    echo "$venv/bin" >> "$GITHUB_PATH"
fi
drivebuild --version

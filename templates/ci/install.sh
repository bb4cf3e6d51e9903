#!/usr/bin/env bash
# drivebuild of this very commit, run from the checkout; or, for a repository of recipes alone, what its settings name.
set -euo pipefail
venv=${RUNNER_TEMP:-/tmp}/drivebuild
python3 -m venv "$venv"
if [ -n "${DRIVEBUILD_PACKAGE:-}" ]; then
    package=("$DRIVEBUILD_PACKAGE")
else
    package=(--editable .)
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${package[@]}" uv
export PATH=$venv/bin:$PATH
if [ -n "${GITHUB_PATH:-}" ]; then
    echo "$venv/bin" >> "$GITHUB_PATH"
fi
drivebuild --version

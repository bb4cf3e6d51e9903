#!/usr/bin/env bash
drivebuild matrix "${words[@]}" --format gitlab --gitlab-include "$DRIVEBUILD_JOBS" > drivebuild-child.yml
drivebuild matrix "${words[@]}"

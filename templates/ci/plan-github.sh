#!/usr/bin/env bash
drivebuild matrix "${words[@]}" --format github --github-output "$GITHUB_OUTPUT"
printf 'host=%s\n' "${DRIVEBUILD_REGISTRY%%/*}" >> "$GITHUB_OUTPUT"
{
    echo '```'
    drivebuild matrix "${words[@]}"
    echo '```'
} >> "$GITHUB_STEP_SUMMARY"

#!/usr/bin/env bash
# What the job did, from its build records, on the run's page.
set -euo pipefail
shopt -s nullglob globstar
{
    echo '| image | outcome | minutes | stages run | cached | digest |'
    echo '| --- | --- | --- | --- | --- | --- |'
    for record in out/state/**/record.json; do
        jq --raw-output '[.tag, .outcome, (.seconds / 6 | round / 10 | tostring),
            ([.stages[] | select(.state == "done")] | length | tostring),
            ([.stages[] | select(.state == "cached")] | length | tostring), .digest[0:19]]
            | "| `\(.[0])` | \(.[1:5] | join(" | ")) | `\(.[5])` |"' "$record"
    done
} >> "$GITHUB_STEP_SUMMARY"

#!/bin/bash
# node.sh JOB [ARGUMENT...]: what every node of a cluster runs. Finds out which node this is, and starts its share of the job.
set -euo pipefail

# An Indexed Job says it in NODE_RANK, Volcano's plug-in `env` in VC_TASK_INDEX, the operator of AscendJobs in RANK.
rank=${NODE_RANK:-${VC_TASK_INDEX:-${RANK:-}}}
if [[ ! "$rank" =~ ^[0-9]+$ ]] || [ "$rank" -ge "$NNODES" ]; then
    echo "drivebuild: '$rank' is no number of one of $NNODES nodes: none of NODE_RANK, VC_TASK_INDEX and RANK says it" >&2
    exit 125
fi
export NODE_RANK=$rank
# Kept with the run's record: what is published is compared with a training on as many cards.
export DRIVEBUILD_NODES=$NNODES

job=$1
shift
if [ "$rank" -ne 0 ]; then
    # Only node 0 prints how far the job is: here silence is no sign of anything.
    job=$job-node
    unset DRIVEBUILD_HANG_MINUTES
fi
# Every node has a folder of its own below the shared one, and so has every attempt.
DRIVEBUILD_RUN=${DRIVEBUILD_RUN:-$(date -u +%Y%m%dT%H%M%SZ)}-node$rank
export DRIVEBUILD_RUN
exec drivebuild-job "$job" "$@"

#!/bin/bash
# environment.sh PROGRAM [ARGUMENT...]: a program that starts its node's processes itself. It counts nodes, where torchrun
# and the operator of AscendJobs count processes.
set -euo pipefail

export WORLD_SIZE=$NNODES RANK=$NODE_RANK
exec "$@"

#!/bin/bash
# torchrun.sh SCRIPT [ARGUMENT...]: this node's processes of a job over several nodes.
set -euo pipefail

# What `python` would import from the current folder, a script in a folder below it would not.
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
exec torchrun --nnodes="$NNODES" --node_rank="$NODE_RANK" --nproc_per_node="$NPROC_PER_NODE" \
    --master_addr="$MASTER_ADDR" --master_port="$MASTER_PORT" "$@"

#!/usr/bin/env bash
# Train on several GPUs (or CPU processes): tools/dist_train.sh CONFIG GPUS [more arguments]
set -euo pipefail

CONFIG=${1:?usage: tools/dist_train.sh CONFIG GPUS [more arguments of tools/train.py]}
GPUS=${2:?usage: tools/dist_train.sh CONFIG GPUS [more arguments of tools/train.py]}

if [ "${NODE_RANK:-0}" = 0 ] && (exec 3<>"/dev/tcp/127.0.0.1/${PORT:-29500}") 2>/dev/null; then
    echo "Error: port ${PORT:-29500} is taken, perhaps by another run: choose another one, PORT=29501 $0 ..." >&2
    exit 2
fi

PYTHONPATH="$(dirname "$0")/..:${PYTHONPATH:-}" "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}"

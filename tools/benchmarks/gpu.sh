#!/usr/bin/env bash
# Everything about this machine's GPU in at most 8 minutes; results go to $OUT (work_dirs/gpu). On a machine without network,
# photos and weights may lie in .gpu/data/voc12-mini and .gpu/weights.
set -euo pipefail
cd "$(dirname "$0")/../.."
more=()
[ -d .gpu/data/voc12-mini ] && more+=(--data-root .gpu/data/voc12-mini)
[ -f .gpu/weights/tf_efficientnet_lite0_imagenet.pth ] && more+=(--weights .gpu/weights/tf_efficientnet_lite0_imagenet.pth)
own=.venv/bin/python
[ -x "$own" ] || own=python3
exec "${PYTHON:-$own}" tools/benchmarks/gpu.py --out "${OUT:-work_dirs/gpu}" "${more[@]}" "$@"

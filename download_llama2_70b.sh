#!/usr/bin/env bash
# Gets the official data set of llama2-70b (24,576 OpenOrca prompts and the calibration set) from MLCommons' public
# storage into $LAB_DATASET/processed-openorca (default: /data/inference/data; in a container /data).
# Run again, it goes on where it stopped; complete, it says so. Arguments are download_model.py's.
set -euo pipefail
python=python3
if [[ -n "${VIRTUAL_ENV:-}" ]]; then
    python=$VIRTUAL_ENV/bin/python
fi
exec "$python" "$(dirname "${BASH_SOURCE[0]}")/download_model.py" --dataset openorca "$@"

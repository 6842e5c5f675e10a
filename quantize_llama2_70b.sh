#!/usr/bin/env bash
# Quantizes Llama-2-70b-chat to FP8, calibrated on the official 1,000 samples: NVIDIA ModelOpt, or AMD Quark where the
# GPU is AMD's. Interrupted and run again, it continues; done already, it says so.
#
#   bash quantize_llama2_70b.sh [OPTION...]
#
# Options go to `harness-llm quantize`, after the ones below, so they can replace them.
# Reads $LAB_MODEL/llama2-70b-chat-hf and $LAB_DATASET/processed-openorca; writes $LAB_MODEL/llama2-70b-chat-hf/fp8_quantized
# and documentation/calibration.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

export LAB_MODEL="${LAB_MODEL:-/data/inference/model/}"
export LAB_DATASET="${LAB_DATASET:-/data/inference/data/}"

# shellcheck source=setup/environment.sh
source setup/environment.sh
prepare_environment || exit $?

model=${LAB_MODEL%/}/llama2-70b-chat-hf
exec harness-llm quantize \
    --model "$model" \
    --calibration "${LAB_DATASET%/}/processed-openorca/open_orca_gpt4_tokenized_llama.calibration_1000.pkl" \
    --kind openorca --samples 1000 --sequence-length 1024 \
    --output "$model/fp8_quantized" \
    --write-up documentation/calibration.md \
    "$@"

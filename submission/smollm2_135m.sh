#!/usr/bin/env bash
# SmolLM2-135M-Instruct on HumanEval, from nothing to a checked submission tree. Unofficial: no MLPerf benchmark.
#
#   bash submission/smollm2_135m.sh
#   COMPANY="YourCompany" SYSTEM_NAME="8xCPU" bash submission/smollm2_135m.sh
#
# Needs Linux, Python 3.11 or newer and a package index; no GPU. Run it again after an interruption: what is
# there is reused. Further arguments go to `harness-llm submit`.
#
#   COMPANY      submitter (default: Unnamed)
#   SYSTEM_NAME  the system's name in the tree (default: the number of cores, e.g. 2xCPU)
#   GPU_NAME     which configuration of code/harness_llm/models/smollm2-135m (default: cpu)
#   LAB_MODEL, LAB_DATASET  where model and data set go (default: .cache/model, .cache/data)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=common.sh
source submission/common.sh
export COMPANY=${COMPANY:-Unnamed} SYSTEM_NAME=${SYSTEM_NAME:-$(nproc)xCPU} GPU_NAME=${GPU_NAME:-cpu}
export LAB_MODEL=${LAB_MODEL:-$PWD/.cache/model} LAB_DATASET=${LAB_DATASET:-$PWD/.cache/data}
submit smollm2-135m smollm2-135m --fetch "$@"

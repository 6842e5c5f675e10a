#!/usr/bin/env bash
# llama2-70b: Offline, Server and Interactive; performance, accuracy and TEST06; checked and packaged.
#
#   COMPANY="<your company>" SYSTEM_NAME="8xMI300X_2xEPYC_9554" GPU_NAME="mi300x" \
#       bash /lab-mlperf-inference/submission/llama2_70b.sh
#
# GPU_NAME is h100, h200, mi300x or mi325x. Model and data set must be there: download_model.py,
# download_llama2_70b.sh, quantize_llama2_70b.sh. Further arguments go to `harness-llm submit`.
#
#   BENCHMARK    llama2-70b-99.9 (default) or llama2-70b-99 (rounds before v6.1)
#   ROUND        v5.0, v5.1, v6.0 or v6.1 (default)
#   DIVISION     open (default) or closed, which takes no simulated run
#   SYSTEM_YAML  what the machine cannot tell of itself (harness-llm system --template FILE)
#   SCENARIOS    default: "offline server interactive"
#   TESTS        default: "performance accuracy TEST06"
#   ENGINE       simulated: made-up answers to synthetic samples, to rehearse in about a minute; never a result
#   SHAPE        synthetic samples of such a rehearsal, samples:prompt:answer in tokens
#   USER_CONF    another user.conf
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=common.sh
source submission/common.sh
submit llama2-70b llama2-70b-99.9 "$@"

#!/usr/bin/env bash
# gpt-oss-120b: Offline and Server; performance, accuracy, TEST07 and TEST09; checked and packaged.
#
#   COMPANY="<your company>" SYSTEM_NAME="8xH200" GPU_NAME="h200" bash submission/gpt_oss_120b.sh
#
# Settings as in llama2_70b.sh. Model and data set must be there:
# python download_model.py --model gpt-oss-120b --dataset gpt-oss.
# The round is v6.0 or v6.1 (default). Accuracy is measured, and scored with MLCommons' own script afterwards:
# docs/accuracy.md. With ENGINE=simulated, SHAPE and TEST07_SHAPE give the synthetic samples.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=common.sh
source submission/common.sh
export SCENARIOS=${SCENARIOS:-offline server} TESTS=${TESTS:-performance accuracy TEST07 TEST09}
own=()
if [[ "${ENGINE:-vllm}" == simulated ]]; then
    SHAPE=${SHAPE:-6396:64:1278}
    own+=(--set "harness_config.tests={TEST07: {dataset: {kind: synthetic, shape: ${TEST07_SHAPE:-990:64:1278}}}}")
else
    export USER_CONF=${USER_CONF:-code/user_${GPU_NAME:-h200}_gpt_oss.conf}
fi
official_benchmark "${BENCHMARK:-gpt-oss-120b}" gpt-oss-120b 1278 ${own[@]+"${own[@]}"} "$@"

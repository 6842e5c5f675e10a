#!/usr/bin/env bash
# llama3.1-8b: Offline, Server and Interactive; performance, accuracy and TEST06; checked and packaged.
#
#   COMPANY="<your company>" SYSTEM_NAME="8xH200" GPU_NAME="h200" bash submission/llama3_1_8b.sh
#
# Settings as in llama2_70b.sh. The data set is a JSONL file of the official prompts (docs/download.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=common.sh
source submission/common.sh
official_benchmark "${BENCHMARK:-llama3.1-8b}" llama3.1-8b 13368:64:128 "$@"

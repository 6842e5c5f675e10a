#!/usr/bin/env bash
# llama3.1-8b: Offline, Server and Interactive; performance, accuracy and TEST06; checked and packaged.
#
#   COMPANY="<your company>" SYSTEM_NAME="8xH200" GPU_NAME="h200" bash submission/llama3_1_8b.sh
#
# Settings as in llama2_70b.sh. Model and data set must be there:
# python download_model.py --model llama3.1-8b --dataset cnn_dailymail, then the FP8 checkpoint as in docs/download.md.
# The sentence data of ROUGE-Lsum, by which it is judged, is fetched to LAB_DATASET where it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=common.sh
source submission/common.sh
submit llama3.1-8b llama3.1-8b "$@"

#!/usr/bin/env bash
# Every file of configs/solo/, a model alone each. [--only GLOB] [--device cpu] [--scale tiny] [--trials N]
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
bench_all solo "$@"

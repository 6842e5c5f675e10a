#!/usr/bin/env bash
# Every file of configs/multitenant/. [--only GLOB] [--device cpu] [--scale tiny] [--mps false] [--trials N]
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
bench_all multitenant "$@"

#!/usr/bin/env bash
# Every file of configs/solo/ under nsys, into out/nsys/. [--only GLOB]
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
profile_all solo "$@"

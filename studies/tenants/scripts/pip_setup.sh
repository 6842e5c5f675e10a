#!/usr/bin/env bash
# Prepare the project's environment, which holds all that the scripts need; on a rented GPU host, too.
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=../../../setup/environment.sh
source "$ROOT/setup/environment.sh"
prepare_environment || exit $?
echo "ready: ./scripts/bench_all_solo.sh, ./scripts/bench_all_multitenants.sh"

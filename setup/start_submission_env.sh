#!/usr/bin/env bash
# Attaches to the container for running and packaging; starts it first where it does not run.
#
#   bash setup/start_submission_env.sh [COMMAND [ARGUMENT...]]
#
# See setup/containers.sh for what it reads from the environment, docs/containers.md for the rest.
set -euo pipefail

export LAB_MODEL="${LAB_MODEL:-/data/inference/model/}"
export LAB_DATASET="${LAB_DATASET:-/data/inference/data/}"

# shellcheck source=containers.sh
source "$(dirname "${BASH_SOURCE[0]}")/containers.sh"
containers_start submission "$@"

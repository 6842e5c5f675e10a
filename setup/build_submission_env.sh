#!/usr/bin/env bash
# Builds the image for running and packaging, for the kind of accelerator that this host has.
#
#   bash setup/build_submission_env.sh
#
# See setup/containers.sh for what it reads from the environment, docs/containers.md for the rest.
set -euo pipefail
# shellcheck source=containers.sh
source "$(dirname "${BASH_SOURCE[0]}")/containers.sh"
containers_build submission

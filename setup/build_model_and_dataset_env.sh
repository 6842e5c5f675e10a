#!/usr/bin/env bash
# Builds the image for downloading and quantizing, for the kind of accelerator that this host has.
#
#   bash setup/build_model_and_dataset_env.sh
#
# See setup/containers.sh for what it reads from the environment, docs/containers.md for the rest.
set -euo pipefail
# shellcheck source=containers.sh
source "$(dirname "${BASH_SOURCE[0]}")/containers.sh"
containers_build model-and-dataset

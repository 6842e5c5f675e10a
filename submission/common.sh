#!/usr/bin/env bash
# What the submission scripts share; sourced by them, from the repository's top folder.
#
# COMPANY, SYSTEM_NAME and GPU_NAME come from the environment; LAB_MODEL and LAB_DATASET say where models and data lie.

# shellcheck source=../setup/environment.sh
source setup/environment.sh

# run_and_package BENCHMARK ARGUMENT...: measures, checks, and writes the tree. Further arguments go to `harness-llm run`.
# An interrupted run of the same configuration is continued. Returns 1 if the run is INVALID.
run_and_package() {
    local benchmark=$1 run_status=0 check_status=0 folder
    shift
    harness-llm run --resume "$@" || run_status=$?
    [[ $run_status -le 1 ]] || return "$run_status"
    folder=$(newest_run "$benchmark")
    harness-llm check --failures "$folder" || check_status=$?
    [[ $check_status -le 1 ]] || return "$check_status"
    harness-llm package "$folder" --division "${DIVISION:-open}" --round "${ROUND:-v6.1}" --company "$COMPANY" \
        --system-name "$SYSTEM_NAME" ${SYSTEM_YAML:+--system-yaml "$SYSTEM_YAML"} || return $?
    return $((run_status > check_status ? run_status : check_status))
}

# newest_run BENCHMARK: the run folder that was begun last.
newest_run() {
    find results -mindepth 1 -maxdepth 1 -type d -name "$1_*" | sort | tail -n 1
}

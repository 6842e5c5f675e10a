#!/usr/bin/env bash
# What the submission scripts share; sourced by them, from the repository's top folder.
#
# COMPANY, SYSTEM_NAME and GPU_NAME come from the environment; LAB_MODEL and LAB_DATASET say where models and data lie.

# shellcheck source=../setup/environment.sh
source setup/environment.sh

# run_and_package BENCHMARK ARGUMENT...: measures, checks, and writes the tree. Further arguments go to `harness-llm run`.
# An interrupted run of the same configuration is continued. Returns 1 if the run is INVALID or a check failed.
run_and_package() {
    local benchmark=$1 run_status=0 check_status=0 folder
    shift
    harness-llm run --resume "$@" || run_status=$?
    [[ $run_status -le 1 ]] || return "$run_status"
    folder=$(newest_run "$benchmark")
    harness-llm check --failures --round "${ROUND:-v6.1}" "$folder" || check_status=$?
    [[ $check_status -le 1 ]] || return "$check_status"
    harness-llm package "$folder" --division "${DIVISION:-open}" --round "${ROUND:-v6.1}" --company "$COMPANY" \
        --system-name "$SYSTEM_NAME" --output "${LAB_SUBMISSION:-submission}" --replace \
        ${SYSTEM_YAML:+--system-yaml "$SYSTEM_YAML"} || return $?
    return $((run_status > check_status ? run_status : check_status))
}

# require VARIABLE REMEDY: refuses a variable that is not set.
require() {
    [[ -n "${!1:-}" ]] || tell_error 2 "$1 is not set" "$2"
}

# require_names: COMPANY and SYSTEM_NAME must be able to name folders of the tree; said before anything is set up.
require_names() {
    local variable
    for variable in COMPANY SYSTEM_NAME; do
        [[ "${!variable}" =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]] ||
            tell_error 2 "$variable \"${!variable}\" cannot be a folder of a submission" \
                "use letters, digits and ._+- only, starting with a letter or digit" || return
    done
}

# require_profiles FOLDER SCENARIO...: each scenario must have a configuration for GPU_NAME in FOLDER.
require_profiles() {
    local models=$1 scenario known
    shift
    for scenario in "$@"; do
        [[ -f "$models/${scenario}_$GPU_NAME.yaml" ]] && continue
        known=$(cd "$models" && echo *_*.yaml)
        tell_error 2 "GPU_NAME \"$GPU_NAME\", scenario \"$scenario\": there is no $models/${scenario}_$GPU_NAME.yaml" \
            "name what is there (${known//.yaml/}), or write that file" || return
    done
}

# newest_run BENCHMARK: the run folder that was begun last.
newest_run() {
    find results -mindepth 1 -maxdepth 1 -type d -name "$1_*" | sort | tail -n 1
}

# official_benchmark BENCHMARK FOLDER SHAPE ARGUMENT...: all scenarios and tests of an official benchmark.
# FOLDER is its folder under code/harness_llm/models. SHAPE is that of the made-up data set of a simulated run,
# samples:prompt:answer in tokens, or the answer's length alone; the variable SHAPE wins over it. The variable
# accuracy_data names what download_model.py must get before answers can be scored.
official_benchmark() {
    local benchmark=$1 models=code/harness_llm/models/$2 shape=${SHAPE:-$3} scenario test status=0 arguments=()
    local scenarios=${SCENARIOS:-offline server interactive} tests=${TESTS:-performance accuracy TEST06}
    shift 3
    if [[ "${ENGINE:-vllm}" == simulated ]]; then
        [[ "${DIVISION:-open}" != closed ]] ||
            tell_error 2 "ENGINE=simulated makes answers up: simulated, not a result, so it cannot go into closed" \
                "leave DIVISION out to rehearse, or leave ENGINE out to measure" || return
        COMPANY=${COMPANY:-Simulated} SYSTEM_NAME=${SYSTEM_NAME:-simulated} GPU_NAME=${GPU_NAME:-h200}
    fi
    require COMPANY "name your company: COMPANY=\"...\" bash $0" || return
    require SYSTEM_NAME "name the system, e.g. SYSTEM_NAME=8xH200" || return
    require GPU_NAME "name the GPU: one of $(cd "$models" && echo offline_*.yaml | sed 's/offline_//g; s/\.yaml//g')" || return
    require_names || return
    # shellcheck disable=SC2086 # words are meant
    require_profiles "$models" $scenarios || return
    prepare_environment || return
    export LAB_MODEL=${LAB_MODEL:-/data/inference/model} LAB_DATASET=${LAB_DATASET:-/data/inference/data}
    if [[ "${ENGINE:-vllm}" == simulated ]]; then
        [[ "$shape" == *:* ]] || shape=24576:64:$shape
        arguments+=(--set "harness_config.engine={kind: simulated, first_token_ms: 20, per_token_ms: 0.5}"
            --set "harness_config.dataset={kind: synthetic, shape: $shape}"
            --set "harness_config.user_conf=${USER_CONF:-code/user_simulated.conf}")
    else
        arguments+=(--set "harness_config.user_conf=${USER_CONF:-code/user_$GPU_NAME.conf}")
        if [[ -n "${accuracy_data:-}" && " $tests " == *" accuracy "* ]]; then
            python download_model.py --dataset "$accuracy_data" || return
        fi
    fi
    for scenario in $scenarios; do
        arguments+=(--config "$models/${scenario}_$GPU_NAME.yaml")
    done
    for test in $tests; do
        arguments+=(--test "$test")
    done
    run_and_package "$benchmark" --set "harness_config.benchmark=$benchmark" "${arguments[@]}" "$@" || status=$?
    if [[ "${ENGINE:-vllm}" == simulated && $status -le 1 ]]; then
        echo "rehearsed to the end: simulated, not a result. It takes seconds, so the checks of the minimum duration fail."
    fi
    return "$status"
}

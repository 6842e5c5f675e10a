#!/usr/bin/env bash
# What the submission scripts share; sourced by them, from the repository's top folder.
#
# What they do is `harness-llm submit`; see its --help. Here stands only what is better said before an environment of
# some gigabytes is set up.

# shellcheck source=../setup/environment.sh
source setup/environment.sh

# submit FOLDER BENCHMARK ARGUMENT...: measures, scores, checks and packages. FOLDER is the benchmark's under
# code/harness_llm/models; further arguments go to `harness-llm submit`.
submit() {
    local folder=code/harness_llm/models/$1 benchmark=$2 variable scenario known
    shift 2
    if [[ "${ENGINE:-vllm}" == simulated ]]; then
        [[ "${DIVISION:-open}" != closed ]] ||
            tell_error 2 "ENGINE=simulated makes answers up: simulated, not a result, so it cannot go into closed" \
                "leave DIVISION out to rehearse, or leave ENGINE out to measure" || return
        set -- --rehearse "$@"
        export COMPANY=${COMPANY:-Simulated} SYSTEM_NAME=${SYSTEM_NAME:-simulated} GPU_NAME=${GPU_NAME:-h200}
        export USER_CONF=${USER_CONF:-code/user_simulated.conf}
    fi
    known=$(cd "$folder" && echo ./*_*.yaml | sed 's|\./||g; s|\.yaml||g')
    for variable in COMPANY SYSTEM_NAME GPU_NAME; do
        [[ -n "${!variable:-}" ]] || tell_error 2 "$variable is not set" \
            "give your company, the system's name and the GPU: COMPANY=... SYSTEM_NAME=8xH200 GPU_NAME=h200 bash $0" || return
    done
    for variable in COMPANY SYSTEM_NAME; do
        [[ "${!variable}" =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]] ||
            tell_error 2 "$variable \"${!variable}\" cannot be a folder of a submission" \
                "use letters, digits and ._+- only, starting with a letter or digit" || return
    done
    for scenario in ${SCENARIOS:-offline}; do
        [[ -f "$folder/${scenario}_$GPU_NAME.yaml" ]] ||
            tell_error 2 "GPU_NAME \"$GPU_NAME\": there is no $folder/${scenario}_$GPU_NAME.yaml" \
                "name what is there ($known), or write that file" || return
    done
    prepare_environment || return
    export COMPANY SYSTEM_NAME GPU_NAME
    export LAB_MODEL=${LAB_MODEL:-/data/inference/model} LAB_DATASET=${LAB_DATASET:-/data/inference/data}
    harness-llm submit "${BENCHMARK:-$benchmark}" ${SHAPE:+--shape "$SHAPE"} \
        ${TEST07_SHAPE:+--shape "TEST07=$TEST07_SHAPE"} ${TUNE:+--tune} "$@"
}

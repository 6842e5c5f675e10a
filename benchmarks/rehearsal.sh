#!/usr/bin/env bash
# A rehearsal of llama2-70b at full legal size: 24,576 samples, 600 s, Offline, Server and Interactive side by side,
# performance, accuracy and TEST06, on a simulated engine; then the tree, and every check. About 25 minutes, little CPU.
#
#   bash benchmarks/rehearsal.sh [OUTPUT]      # default: results/rehearsal
#
# Run again after an interruption, it goes on; a finished scenario is kept until its folder is removed. Exit code 0
# if every check passes, 1 if one fails (on a busy machine, latencies), 2 or 3 if something could not run.
#
# Its answers are made up: nothing here is a result. It exists to try all of LoadGen's rules before a GPU is paid for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source setup/environment.sh
prepare_environment

output=${1:-results/rehearsal}
mkdir -p "$output"
rehearse() { # SCENARIO FIRST_TOKEN_MS PER_TOKEN_MS
    if grep -qs '"state": *"complete"' "$output/$1/run.json"; then
        echo "$output/$1: holds a finished run, which is kept" >"$output/$1.log"
        return 0
    fi
    exec harness-llm run --resume --output "$output/$1" --config "code/harness_llm/models/llama2-70b/$1_h200.yaml" \
        --test performance --test accuracy --test TEST06 \
        --set harness_config.user_conf=code/user_rehearsal.conf \
        --set "harness_config.dataset={kind: synthetic, shape: llama2-70b}" \
        --set "harness_config.engine={kind: simulated, first_token_ms: $2, per_token_ms: $3}" \
        >"$output/$1.log" 2>&1
}
pids=()
# What a shell starts in the background ignores an interrupt, so that is passed on as a termination.
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rehearse offline 500 86 & pids+=($!)
rehearse server 200 20 & pids+=($!)
rehearse interactive 200 20 & pids+=($!)
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
pids=()
tail -n 12 "$output"/*.log
[[ $status -le 1 ]] || exit "$status"
for scenario in offline server interactive; do
    harness-llm package "$output/$scenario" --company Rehearsal --system-name simulated --output "$output" --replace
done
harness-llm check --failures "$output"/inference_results_v6.1 || status=$?
exit "$status"

#!/usr/bin/env bash
# Sets up what the tests need, then runs every check: style, types, docs, Dockerfile, shell scripts, tests.
#
#   bash tests/run.sh                      everything
#   bash tests/run.sh tests/unit -k fetch  pytest alone, with these arguments
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 3
source setup/environment.sh
prepare_environment || exit $?

export LAB_MODEL=${LAB_MODEL:-$root/.cache/model} LAB_DATASET=${LAB_DATASET:-$root/.cache/data}
python download_model.py --model smollm2-135m --dataset humaneval >/dev/null || {
    status=$?
    # One test at a time can do without the model; all of them cannot.
    [[ $# -gt 0 ]] || exit "$status"
}

if [[ $# -gt 0 ]]; then
    exec python -m pytest "$@"
fi

failed=()
# check NAME COMMAND...: run it, and go on whatever it says, so that one run shows all that is wrong.
check() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name: $*"
    "$@" || failed+=("$name")
    echo "== $name: $((SECONDS - start)) s"
}
# finished PROCESS FILE: wait for its end, show what it wrote, and end as it did.
finished() {
    local status=0
    wait "$1" || status=$?
    cat "$2"
    return "$status"
}
check style ruff check .
check format ruff format --check .
check types mypy
check docs env NO_MKDOCS_2_WARNING=1 mkdocs build --strict
check dockerfile hadolint Dockerfile
if command -v shellcheck >/dev/null; then
    check shell shellcheck .ci/run ./*.sh ./*/*.sh ./studies/*/*.sh ./studies/*/*/*.sh
else
    echo "== shell: not checked, there is no shellcheck for this machine's processor"
fi
python tests/audit.py >.cache/audit.txt & # while tests run, for it waits for a network most of the time
audit=$!
# Building an image waits for disk and network, and no test of a container looks at a clock: beside the units.
python -m pytest tests/docker >.cache/containers.txt 2>&1 &
containers=$!
# Tests of one process share the cores; those that start runs and faults, and measure, have them alone.
check units python -m pytest tests/contract tests/unit tests/mutation -n auto --maxprocesses 4 --dist loadfile \
    -o timeout_method=signal # by a thread, a time-out ends the whole process
check containers finished "$containers" .cache/containers.txt
check runs python -m pytest tests/faults tests/gpu tests/integration --durations 25
wait "$audit"
echo "== known vulnerabilities, reported and not judged: $(<.cache/audit.txt)"
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "error: failed: ${failed[*]}" >&2
    exit 1
fi

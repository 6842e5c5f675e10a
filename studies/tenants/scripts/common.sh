#!/usr/bin/env bash
# What the scripts of this folder share: where things lie, and how a study is run. Source it.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
PYTHON=$ROOT/.venv/bin/python
[[ -x $PYTHON ]] || PYTHON=python3
export PYTHONPATH="$ROOT/code${PYTHONPATH:+:$PYTHONPATH}"
EXIT_USAGE=2
EXIT_BROKEN=3
if [[ -f $0 && " $* " == *" --help "* ]]; then
    sed -n '2s/^# //p' "$0" # each script's second line says what it does and takes
    exit
fi

# value KEY CONFIG: a top key of a YAML file; empty where it is not written.
value() {
    sed -n "s/^$1: *[\"']*\([^ #\"']*\).*/\1/p" "$2"
}

# results_of CONFIG: where its results go.
results_of() {
    local given
    given=$(value out_dir "$1")
    case $given in
        "") echo "$HERE/data/$(value experiment_name "$1")" ;;
        /*) echo "$given" ;;
        *) echo "$HERE/$given" ;;
    esac
}

# bench CONFIG [OPTION...]: run a study into its folder; a complete one of before is kept under another name.
bench() {
    local config=$1 folder
    shift
    folder=$(results_of "$config")
    if grep -qs '"state": *"complete"' "$folder/study.json"; then
        mv "$folder" "$folder.$(date -u -r "$folder/study.json" +%Y%m%dT%H%M%SZ)"
    fi
    (cd "$ROOT" && "$PYTHON" -m harness_llm study tenants --config "$config" --output "$folder" "$@")
}

# usage TEXT: say how a script is called, and end.
usage() {
    echo "usage: $1" >&2
    exit "$EXIT_USAGE"
}

# configs_of KIND: the files of configs/KIND that `only` names, into `configs`.
configs_of() {
    mapfile -t configs < <(compgen -G "$HERE/configs/$1/$only.yaml")
    ((${#configs[@]})) || { echo "error: no file configs/$1/$only.yaml" >&2 && exit "$EXIT_USAGE"; }
}

# read_options OPTION...: fill `only` and `asked`; short options of the study's keys are understood.
read_options() {
    only='*' asked=()
    while (($#)); do
        case $1 in
            --only | --device | --scale | --trials | --matrix | --mps)
                (($# > 1)) || usage "$(basename "$0") [...] $1 VALUE"
                if [[ $1 == --only ]]; then only=$2; else asked+=(--set "${1#--}=$2"); fi
                shift 2
                ;;
            *) asked+=("$1") && shift ;;
        esac
    done
    if ! compgen -G '/dev/nvidia[0-9]*' >/dev/null && [[ ! -e /dev/kfd && " ${asked[*]} " != *" scale="* ]]; then
        echo "note: no GPU: --device cpu --scale tiny; so figures are of tiny models of the same kinds" >&2
        asked+=(--set device=cpu --set scale=tiny)
    fi
}

# bench_all KIND [--only GLOB] [OPTION...]: every file of configs/KIND; continues after one that fails.
bench_all() {
    local kind=$1 config configs only asked said=() broke=0 began
    shift
    read_options "$@"
    configs_of "$kind"
    for config in "${configs[@]}"; do
        began=$SECONDS
        echo "== $(basename "$config")"
        if bench "$config" --view none "${asked[@]}"; then
            said+=("$(basename "$config" .yaml): done, $((SECONDS - began)) s: $(results_of "$config")")
        else
            said+=("$(basename "$config" .yaml): FAILED, see above") broke=$EXIT_BROKEN
        fi
    done
    printf '%s\n' "" "${said[@]}"
    exit "$broke"
}

# profile CONFIG OUT [OPTION...]: a study under nsys, into OUT.nsys-rep.
profile() {
    local config=$1 out=$2 flags
    shift 2
    command -v nsys >/dev/null || {
        echo "error: nsys is not on PATH; scripts/nsys_setup.sh installs it and says what to add" >&2
        exit "$EXIT_USAGE"
    }
    mkdir -p "$(dirname "$out")"
    flags=("--trace=cuda,nvtx,osrt" --trace-fork-before-exec=true --cuda-graph-trace=node --force-overwrite=true)
    if nsys profile --gpu-metrics-devices=all --force-overwrite=true --output="$out.probe" true >/dev/null 2>&1; then
        flags+=(--gpu-metrics-devices=all)
    else
        echo "note: the GPU's own counters cannot be read here; the profile is without them" >&2
    fi
    rm -f "$out.probe".*
    (cd "$ROOT" && VLLM_WORKER_MULTIPROC_METHOD=spawn nsys profile "${flags[@]}" --output="$out" \
        "$PYTHON" -m harness_llm study tenants --config "$config" --output "$out.study" "$@")
}

# profile_all KIND [OPTION...]: every file of configs/KIND, into out/nsys/<experiment>/.
profile_all() {
    local kind=$1 config configs name only asked
    shift
    read_options "$@"
    configs_of "$kind"
    for config in "${configs[@]}"; do
        name=$(value experiment_name "$config")
        profile "$config" "$HERE/out/nsys/$name/$name" "${asked[@]}"
    done
}

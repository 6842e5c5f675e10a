#!/usr/bin/env bash
# One file under nsys: --config FILE [--out PREFIX] [OPTION...]
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
config='' out=''
while [[ ${1:-} == --config || ${1:-} == --out ]]; do
    (($# > 1)) || usage "$0 --config FILE [--out PREFIX]"
    [[ $1 == --config ]] && config=$(realpath -m "$2")
    [[ $1 == --out ]] && out=$(realpath -m "$2")
    shift 2
done
[[ -n $config ]] || usage "$0 --config FILE [--out PREFIX]"
[[ -f $config ]] || { echo "error: $config: no such file" >&2 && exit "$EXIT_USAGE"; }
name=$(value experiment_name "$config")
read_options "$@"
profile "$config" "${out:-$HERE/out/nsys/$name/$name}" "${asked[@]}"

#!/usr/bin/env bash
# Statistics of the profiles in a folder, as JSON beside them: nsys_extract_stats.sh DIR
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
folder=${1:?usage: nsys_extract_stats.sh DIR}
command -v nsys >/dev/null || { echo "error: nsys is not on PATH; see scripts/nsys_setup.sh" >&2 && exit "$EXIT_USAGE"; }
for report in "$folder"/*.nsys-rep; do
    [[ -f $report ]] || { echo "error: no *.nsys-rep in $folder" >&2 && exit "$EXIT_USAGE"; }
    for pair in cuda_gpu_kern_sum:gpu_kernel cuda_api_sum:cuda_api nvtx_sum:nvtx osrt_sum:osrt; do
        nsys stats --quiet --force-export=true --report="${pair%%:*}" --format=json "$report" >"$folder/${pair##*:}.json"
    done
done

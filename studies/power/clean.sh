#!/usr/bin/env bash
# Removes what the scripts of this folder wrote; anything else stays, such as a CSV file of another tool.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ -e data/caps.json ]]; then
    echo "data/caps.json: power caps may still be set; continue the study, which restores them" >&2
    exit 1
fi
found=()
for file in {inference,training}_{stats,summary}.csv; do
    if [[ -f $file ]] && head -1 "$file" | grep -qE ',schema|,energy_per_token_low,'; then
        found+=("$file")
    fi
done
for file in report.png report.html data/study.json; do
    [[ -f $file ]] && found+=("${file%/study.json}")
done
if [[ ${#found[@]} -eq 0 ]]; then
    echo "nothing to remove"
    exit 0
fi
printf 'removing %s\n' "${found[@]}"
rm -rf -- "${found[@]}"

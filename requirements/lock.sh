#!/usr/bin/env bash
# Writes requirements/cpu.txt and requirements/cuda.txt from pyproject.toml. Needs uv.
#
#   bash requirements/lock.sh [--upgrade]
#
# Without --upgrade, pins that still satisfy pyproject.toml stay. Where torch's CPU build lies in a folder and
# PyTorch's own index cannot be reached, name that folder: TORCH_WHEELS=/some/folder bash requirements/lock.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -n "${TORCH_WHEELS:-}" ]]; then
    torch_source=(--find-links "$TORCH_WHEELS")
else
    torch_source=(--extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)
fi

# lock NAME [UV ARGUMENT...]: pin everything that running, quantizing and testing need with the extra NAME.
lock() {
    local name=$1
    shift
    uv pip compile pyproject.toml --extra "$name" --extra quantize --extra parquet --extra report --extra docker \
        --extra test --override requirements/overrides.txt --excludes "requirements/excludes_$name.txt" \
        --universal --python-version 3.11 --no-annotate --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "bash requirements/lock.sh" --output-file "requirements/$name.txt" --quiet "$@"
    echo "requirements/$name.txt: $(grep -c '==' "requirements/$name.txt") packages"
}

lock cpu --override requirements/overrides_cpu.txt "${torch_source[@]}" "$@"
lock cuda --override requirements/overrides_cuda.txt "$@"

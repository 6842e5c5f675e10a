from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness_llm.errors import HostError
from harness_llm.tenants import mps
from harness_llm.tenants.tenants_file import Mps, Tenant

PIPES = Path("/run/p")
OTHER = 99_999_998  # nobody's process id


def _daemon(tmp_path: Path, script: str) -> str:
    program = tmp_path / mps.CONTROL
    program.write_text(f"#!/bin/sh\nread command\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_tenant_is_told_its_own_share_and_limits() -> None:
    plain = Tenant(name="a", model_name="gpt2")
    limited = Tenant(name="b", model_name="gpt2", active_thread_percentage=30, memory="2G", priority="low")
    assert mps.client_environment(PIPES, plain, Mps()) == {"CUDA_MPS_PIPE_DIRECTORY": "/run/p"}
    some = mps.client_environment(PIPES, plain, Mps(default_active_thread_percentage=50))
    assert some["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "50"
    assert mps.client_environment(PIPES, limited, Mps(default_active_thread_percentage=50)) == {
        "CUDA_MPS_PIPE_DIRECTORY": "/run/p", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "30",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=2G", "CUDA_MPS_CLIENT_PRIORITY": "1",
    }  # fmt: skip


def test_each_tenant_must_be_a_client_of_the_daemon(tmp_path: Path) -> None:
    own = os.getpid()
    script = (
        f'case "$command" in get_server_list) echo 7;; "get_client_list 7") echo {own}; echo {OTHER};; esac'
    )
    control = _daemon(tmp_path, script)
    assert mps.prove(control, tmp_path, {"a": [own], "b": [OTHER]}) == {"a": [own], "b": [OTHER]}
    with pytest.raises(HostError, match=f"but b does not use it: the daemon's clients are {own}, {OTHER}"):
        mps.prove(control, tmp_path, {"a": [own], "b": [999_999_999]})


def test_a_daemon_that_does_not_answer_is_said_in_its_own_words(tmp_path: Path) -> None:
    control = _daemon(tmp_path, 'echo "Cannot find MPS control daemon process"; exit 1')
    with pytest.raises(HostError, match="get_server_list.*Cannot find MPS control"):
        mps.servers(control, tmp_path)
    with pytest.raises(HostError, match="does not answer 'x'"):
        mps.ask(_daemon(tmp_path, "sleep 5"), tmp_path, "x", timeout_s=0.2)

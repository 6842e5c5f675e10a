"""The root cause of a loss: the first exception of the process that failed first, and its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.engines.remedies import remedy_for
from harness_llm.errors import EngineError, ReplicaLost
from harness_llm.fleet.roles import REPLICA
from harness_llm.launch import cause as cause_module
from harness_llm.launch.cause import MemoryKills, explained, first_exception
from harness_llm.launch.child import Child
from harness_llm.testing import FakeHandle

KV = (
    "ValueError: To serve at least one request with the models's max seq len (65536), (1.50 GiB KV cache is "
    "needed, which is larger than the available KV cache memory (0.53 GiB). Based on the available memory, "
    "the estimated maximum model length is 23168. Try increasing `gpu_memory_utilization` or decreasing "
    "`max_model_len` when initializing the engine."
)
CORE = "(EngineCore pid=7) ERROR 11-27 06:00:00 [core.py:1137] "
LOG = f"""\
INFO 11-27 06:00:00 [utils.py:2] loads
Traceback (most recent call last):
  File "x.py", line 1, in <module>
ImportError: an optional library is missing
{CORE}EngineCore failed to start.
{CORE}Traceback (most recent call last):
{CORE}  File "core.py", line 9, in run
(APIServer pid=3) INFO 11-27 06:00:00 [x.py:1] between the lines
{CORE}    raise ValueError(text)
{CORE}{KV}
(EngineCore pid=7) Process EngineCore:
(EngineCore pid=7) Traceback (most recent call last):
(EngineCore pid=7)   File "process.py", line 3, in run
(EngineCore pid=7) RuntimeError: another one
2026-11-27 06:00:01,000 ERROR harness_llm.replica.process: the replica cannot continue
Traceback (most recent call last):
  File "engine.py", line 3, in load
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
"""


def test_the_first_exception_of_the_core_is_the_cause() -> None:
    assert first_exception(LOG) == KV


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ("", ""),
        ("INFO all is well\nValueError: no traceback\n", ""),
        ("Traceback (most recent call last):\n  File x\nKeyboardInterrupt\n", ""),
        ("Traceback (most recent call last):\n  File x\nMemoryError\n", "MemoryError"),
        ("Traceback (most recent call last):\n  a\ntorch.OutOfMemoryError: CUDA out\n",
         "torch.OutOfMemoryError: CUDA out"),
        ("Exception in thread Thread-1:\nTraceback (most recent call last):\n  a\nzmq.error.ZMQError: x\n",
         "zmq.error.ZMQError: x"),
        ("(Worker_TP1 pid=9) ERROR 11-27 06:00:00 [m.py:1] Traceback (most recent call last):\n"
         "(EngineCore pid=7) Traceback (most recent call last):\n(EngineCore pid=7) EOFError\n"
         "(Worker_TP1 pid=9) ERROR 11-27 06:00:00 [m.py:1] OSError: No such file or directory: '/m/a'\n",
         "OSError: No such file or directory: '/m/a'"),
    ],
)  # fmt: skip
def test_exceptions_are_read_per_process(log: str, found: str) -> None:
    assert first_exception(log) == found


@pytest.mark.parametrize(
    ("cause", "named"),
    [
        (KV, "holds 23,168 tokens: lower llm_config.max_model_len to 23168"),
        ("ValueError: No available memory for the cache blocks. Try", "gpu_memory_utilization"),
        ("ValueError: No available memory for the cache blocks. Try", "llm_config.kv_cache_memory_bytes"),
        ("ValueError: Free memory on device cuda:0 (2.1/79.2 GiB) on startup is less", "nvidia-smi"),
        ("RuntimeError: Insufficient space in /dev/shm for x: 160 MiB required", "--shm-size"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0", "no 2.00 GiB left"),
        ("OSError: [Errno 24] Too many open files", "ulimit -n"),
        ("FileNotFoundError: No such file or directory: '/m/a.safetensors'", "/m/a.safetensors is missing"),
        ("MemoryError", "out of memory"),
        ("safetensors_rust.SafetensorError: Error while deserializing header", "harness-llm prepare"),
        ("ValueError: of another kind", ""),
    ],
)
def test_what_to_do_follows_from_the_text(cause: str, named: str) -> None:
    assert named in remedy_for(cause)
    assert bool(remedy_for(cause)) == bool(named)


def _child(log: str) -> Child:
    handle = FakeHandle("replica-0", REPLICA, Path("log.txt"), {})
    handle.text = log
    return Child(handle, None, 0, None)


def test_an_error_is_told_with_cause_remedy_and_log() -> None:
    error = explained(EngineError("replica-0: it failed", "Look."), _child(LOG), MemoryKills())
    assert type(error) is EngineError
    assert f"replica-0: it failed\n  first exception in its log: {KV}\n  log: log.txt" == error.message
    assert "23,168 tokens" in error.remedy


def test_without_an_exception_the_end_of_the_log_stands_for_it() -> None:
    error = explained(ReplicaLost("replica-0 died", "Look."), _child("a\nb\n"), MemoryKills())
    assert error.message == "replica-0 died\n  log: log.txt\n    a\n    b"
    assert error.remedy == "Look."


def test_what_the_log_said_before_it_was_ready_explains_no_later_loss() -> None:
    child = _child(LOG)
    child.log_from = len(LOG)
    assert "first exception" not in explained(ReplicaLost("x"), child, MemoryKills()).message


def test_a_kill_for_want_of_memory_is_said_with_the_kernels_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = tmp_path / "memory.events"
    counts.write_text("low 0\noom 4\noom_kill 4\noom_group_kill 0\n")
    monkeypatch.setattr(cause_module, "_group_counts", lambda: iter([counts]))
    kills = MemoryKills()
    lost = ReplicaLost("replica-0 was killed by SIGKILL")
    assert "memory" not in explained(lost, _child(""), kills).message
    counts.write_text("low 0\noom 5\noom_kill 5\noom_group_kill 0\n")
    error = explained(lost, _child(""), kills)
    assert (
        "killed processes for want of memory" in error.message and f"oom_kill in {counts}: 1" in error.message
    )
    assert "more memory" in error.remedy


def test_a_bus_error_beside_a_full_shared_memory_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ReplicaLost("replica-0 was killed by SIGBUS")
    assert "/dev/shm" not in explained(lost, _child(""), MemoryKills()).message
    full = type("Usage", (), {"total": 64 << 20, "used": 64 << 20, "free": 0})
    monkeypatch.setattr(cause_module.shutil, "disk_usage", lambda _: full)
    error = explained(lost, _child(""), MemoryKills())
    assert "/dev/shm is full: 64 of 64 MiB" in error.message and "--shm-size" in error.remedy

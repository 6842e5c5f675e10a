"""Real vLLM on a CPU under faults: weights, memory, shared memory, a replica, and a run that is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from test_vllm_run import LOAD_S, SAMPLES, USER_CONF, arguments

from harness_llm.core import EventStatus
from harness_llm.files import is_locked
from harness_llm.transport.leftovers import clear_abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runs import Run

__all__ = ["arguments"]  # a fixture

pytestmark = [pytest.mark.vllm, pytest.mark.long, pytest.mark.timeout(900)]

_REPLICA = "harness_llm.replica.process"
_NAN = b"\xc0\x7f"  # of bfloat16
_GROUPS = Path("/sys/fs/cgroup/memory")


def _core(replica: psutil.Process) -> psutil.Process:
    (core,) = (child for child in replica.children() if "EngineCore" in " ".join(child.cmdline()))
    return core


def _with_nan(model: Path, folder: Path) -> Path:
    """The checkpoint with its last norm not a number."""
    shutil.copytree(model, folder, symlinks=False)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        begin, end = json.loads(file.read(length))["model.norm.weight"]["data_offsets"]
        file.seek(8 + length + begin)
        file.write(_NAN * ((end - begin) // len(_NAN)))
    return folder


def test_weights_that_are_not_numbers_are_never_valid(
    arguments: dict[str, Any], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    model = _with_nan(Path(arguments["llm"]["model"]), tmp_path / "nan")
    run = new_run(**{**arguments, "llm": {**arguments["llm"], "model": str(model)}})
    run.harness = {**run.harness, "scenarios": ["Offline"]}
    code, errors = run.complete(seconds=LOAD_S)
    said = errors + run.out
    assert code in (1, 3) and re.search(r"repeat(ed)? [^;]+; this comes from weights", said), said
    assert "VALID" not in run.out.replace("INVALID", ""), said
    run.assert_nothing_is_left()


@contextmanager
def _memory_group(limit_bytes: int) -> Iterator[Path]:
    """A control group with a limit: where more is used, the kernel kills the largest process in it."""
    group = _GROUPS / f"harness-llm-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
    except OSError as error:
        pytest.skip(f"needs the right to make a control group of memory: {error}")
    try:
        yield group
    finally:
        deadline = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        group.rmdir()


def _fill(group: Path, size: int) -> None:
    """Use memory in a control group; what was used before a process came there is not counted in it."""
    fills = f"open('{group}/cgroup.procs', 'w').write('0'); held = bytearray(b'x') * {size}"
    subprocess.run([sys.executable, "-c", fills])


def test_an_engine_core_that_the_kernel_kills_for_memory_is_named_with_the_kernels_count(
    arguments: dict[str, Any], new_run: Callable[..., Run]
) -> None:
    with _memory_group(64 << 20) as group:
        run = new_run(**{**arguments, "user_conf": USER_CONF.format(server_ms=300_000)})
        run.harness = {**run.harness, "scenarios": ["Server"]}
        run.start()
        run.wait_until_asked("Server/performance", 3, LOAD_S)
        (replica,) = run.processes(_REPLICA)
        core = _core(replica)
        started = time.monotonic()
        (group / "cgroup.procs").write_text(str(core.pid))
        _fill(group, 128 << 20)
        code, errors = run.wait(60)
    assert time.monotonic() - started < 30
    assert code == 3, errors
    reason = run.json("run.json")["reason"]
    assert "vLLM's engine core process died" in reason, reason
    assert "the kernel has killed processes for want of memory meanwhile (oom_kill in " in errors, errors
    run.assert_nothing_is_left()


def test_no_room_in_shared_memory_is_said_with_its_remedy(
    arguments: dict[str, Any], new_run: Callable[..., Run]
) -> None:
    alone = ["unshare", "-m", "bash", "-c", 'mount -t tmpfs -o size=4k none /dev/shm && exec "$@"', "x"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system of its own")
    run = new_run(**arguments)
    run.harness = {**run.harness, "scenarios": ["Offline"]}
    run.prefix = alone
    code, errors = run.complete(seconds=LOAD_S)
    assert code == 3 and "/dev/shm" in errors and "--shm-size" in errors, errors
    run.assert_nothing_is_left()


def test_one_of_two_replicas_is_killed_and_the_other_answers_everything_once(
    arguments: dict[str, Any], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    samples = 24 * SAMPLES
    prompts = tmp_path / "prompts.jsonl"
    lines = [{"token_ids": [1 + n % 7, *range(500, 520 + n % 5)], "min_tokens": 24} for n in range(samples)]
    prompts.write_text("".join(json.dumps({**line, "reference": "x"}) + "\n" for line in lines))
    run = new_run(**arguments)
    run.harness = {
        **run.harness, "dataset_path": str(prompts), "scenarios": ["Offline"], "tests": ["accuracy"],
        "replicas": 2,
    }  # fmt: skip
    run.start()
    run.wait_until_asked("Offline/accuracy", 4, LOAD_S)
    run.processes(_REPLICA)[0].kill()
    code, errors = run.wait(300)
    assert code == 0, errors + run.out
    assert "survived 1 failure" in run.out, run.out
    events = run.events("Offline/accuracy")
    assert sorted(events["sample"]) == list(range(samples))
    assert (events["status"] == EventStatus.FINISHED).all()
    run.assert_nothing_is_left()
    checked = subprocess.run(
        [sys.executable, "-m", "harness_llm", "check", str(run.output)], capture_output=True, text=True
    )
    assert "survived 1 failure" in checked.stdout, checked.stdout


@pytest.mark.parametrize("victims", ["the command", "its engine core", "every process at once"])
def test_a_killed_run_leaves_no_shared_memory_and_no_socket_or_the_next_run_clears_them(
    arguments: dict[str, Any], new_run: Callable[..., Run], victims: str
) -> None:
    run = new_run(**{**arguments, "user_conf": USER_CONF.format(server_ms=300_000)})
    run.harness = {**run.harness, "scenarios": ["Server"]}
    run.start()
    run.wait_until_asked("Server/performance", 3, LOAD_S)
    assert run.process is not None
    command = psutil.Process(run.process.pid)
    family = [command, *run.family()]
    cores = [_core(replica) for replica in run.processes(_REPLICA)]
    killed = {"the command": [command], "its engine core": cores}.get(victims, family)
    for process in killed:
        process.suspend()  # so that none sees another's end
    for process in killed:
        process.kill()
    run.wait(60)
    assert not psutil.wait_procs(family, 20)[1]
    if killed is family:
        assert run.host.left(), "they had something"
        for owner in Path(tempfile.gettempdir()).glob("harness-llm-*/owner"):
            if not is_locked(owner):
                os.utime(owner, (0, 0))  # it is not being made right now
        clear_abandoned(Path(tempfile.gettempdir()))
    run.assert_nothing_is_left()

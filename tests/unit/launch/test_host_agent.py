"""The agent that Ray puts on another host, without Ray: what it leaves there."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness_llm.launch.launcher import Effort
from harness_llm.launch.ray_cluster import HostAgent, News, RayHandle
from harness_llm.launch.role import Role
from harness_llm.transport import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLDS = """
import json, os, sys, time
from multiprocessing.shared_memory import SharedMemory
held = SharedMemory(create=True, size=4096)
print(json.dumps([held.name, os.environ["HARNESS_LLM_SOCKETS"]]), flush=True)
time.sleep(60)
"""


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostAgent]:
    (tmp_path / "holds_memory.py").write_text(_HOLDS)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(leftovers.tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    agent = HostAgent()
    agent.start("127.0.0.1", Role("plain", "holds_memory"), "c", b"{}", {})
    yield agent
    _end(agent)


def _end(agent: HostAgent) -> None:
    agent.signal(9)
    agent._handle.process.wait(5)
    if agent._handle.writer is not None:
        agent._handle.writer.join(5)


def _said(agent: HostAgent) -> list[str]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if log := agent.news().log:
            found: list[str] = json.loads(log)
            return found
        time.sleep(0.02)
    raise AssertionError("it said nothing")


def test_nothing_stays_where_the_process_has_ended(agent: HostAgent, tmp_path: Path) -> None:
    memory, sockets = _said(agent)
    assert Path(sockets).is_dir() and Path("/dev/shm", memory).exists()
    _end(agent)
    assert agent.news().exit_reason == "was killed by SIGKILL"
    assert not Path("/dev/shm", memory).exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_it_holds_is_noted_for_the_next_agent_there(agent: HostAgent) -> None:
    memory, sockets = _said(agent)
    for _ in range(64):
        agent.news()
    assert Path(sockets, "segments").read_text().split() == [f"/dev/shm/{memory}"]
    assert leftovers.is_locked(Path(sockets, "owner"))


def test_what_a_process_did_is_known_though_its_log_cannot_be_written() -> None:
    handle = RayHandle("c", Role("plain", "gone"), Path("/dev/full"), None, None)
    with pytest.raises(OSError, match="No space left"):
        handle.take(News("exited with 1", b"a line\n", Effort(2, 3), []))
    assert handle.exit_reason() == "exited with 1" and handle.ended.is_set()
    assert handle.effort() == Effort(2, 3)

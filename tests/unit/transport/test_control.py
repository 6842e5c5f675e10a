from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import zmq

from harness_llm.errors import HostError, ModelError
from harness_llm.transport.control import PARENT_VARIABLE, ControlClient, ControlServer, bind, bind_within
from harness_llm.transport.wire import Failed, Heartbeat, Shutdown, Stage

if TYPE_CHECKING:
    from pathlib import Path


def _hear(server: ControlServer, wanted: type, seconds: float = 5) -> tuple[str, object]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name, message in server.receive(100, {"r", "replica-0"}):
            if isinstance(message, wanted):
                return name, message
    raise AssertionError(f"no {wanted.__name__} within {seconds} s")


def test_a_child_is_heard_by_name_beats_by_itself_and_can_be_stopped(
    context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    server = ControlServer(context, f"ipc://{tmp_path}/c")
    stopped: list[bool] = []
    with ControlClient(
        context, server.endpoint, "replica-0", lambda: Heartbeat(7, 1, 2, 3), lambda: stopped.append(True)
    ) as client:
        client.send(Stage("loading"))
        assert _hear(server, Stage) == ("replica-0", Stage("loading"))
        assert _hear(server, Heartbeat) == ("replica-0", Heartbeat(7, 1, 2, 3))
        server.tell("replica-0", Shutdown())
        server.tell("nobody", Shutdown())
        _hear(server, Heartbeat)
        deadline = time.monotonic() + 3
        while not stopped and time.monotonic() < deadline:
            time.sleep(0.02)
    assert stopped == [True]
    client.send(Stage("after the end"))  # must not raise: a last word may come late
    server.close()


def test_an_error_keeps_its_class_message_and_remedy(
    context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    server = ControlServer(context, f"ipc://{tmp_path}/c")
    with ControlClient(context, server.endpoint, "r", Heartbeat, lambda: None) as client:
        client.fail(ModelError("bad", "Do this."))
        assert _hear(server, Failed) == ("r", Failed("ModelError", "bad", "Do this."))
        client.fail(KeyError("x"))
        name, failed = _hear(server, Failed)
        assert isinstance(failed, Failed)
        assert failed.message == "KeyError: 'x'"
    server.close()


def test_an_endpoint_in_use_names_itself_and_the_key(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    first = ControlServer(context, "tcp://127.0.0.1:*")
    with pytest.raises(HostError, match="in use") as caught:
        ControlServer(context, first.endpoint)
    assert first.endpoint in str(caught.value)
    assert "harness_config.port" in caught.value.remedy
    first.close()


def test_bind_returns_what_peers_connect_to(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with context.socket(zmq.ROUTER) as socket:
        assert int(bind(socket, "tcp://127.0.0.1:*").rpartition(":")[2]) > 0


def test_a_child_chooses_a_free_place_within_what_it_is_given(
    context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    sockets = [context.socket(zmq.ROUTER) for _ in range(4)]
    first = bind(sockets[0], "tcp://127.0.0.1:*")
    port = int(first.rpartition(":")[2])
    others = {bind_within(socket, f"tcp://127.0.0.1:{port}-{port + 40}") for socket in sockets[1:3]}
    assert len(others) == 2
    assert all(port < int(endpoint.rpartition(":")[2]) <= port + 40 for endpoint in others)
    with pytest.raises(HostError, match=f"127.0.0.1:{port}: .*in use") as caught:
        bind_within(sockets[3], f"tcp://127.0.0.1:{port}-{port}")
    assert "harness_config.port" in caught.value.remedy
    assert bind_within(sockets[3], f"ipc://{tmp_path}") == f"ipc://{tmp_path}/{os.getpid()}"
    with context.socket(zmq.ROUTER) as any_port:
        assert bind_within(any_port, "tcp://127.0.0.1:*").startswith("tcp://127.0.0.1:")


_CHILD = """
import subprocess, sys, time
from harness_llm.transport.control import die_with_parent
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(grandchild.pid, flush=True)
die_with_parent()
time.sleep(60)
"""


@pytest.mark.parametrize("parent", ["dies later", "is dead already"])
def test_a_child_and_its_children_end_when_the_parent_is_gone(parent: str) -> None:
    holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    if parent == "is dead already":
        holder.kill()
        holder.wait()
    starter = (
        "import subprocess, sys, os\n"
        "parent = sys.argv[1] if sys.argv[1] != '0' else str(os.getpid())\n"
        f"child = subprocess.Popen([sys.executable, '-c', {_CHILD!r}], start_new_session=True,"
        f" env=os.environ | {{{PARENT_VARIABLE!r}: parent}})\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    argument = "0" if parent == "dies later" else str(holder.pid)
    with subprocess.Popen(
        [sys.executable, "-c", starter, argument], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        family = [psutil.Process(int(process.stdout.readline())) for _ in range(2)]
        if parent == "dies later":
            time.sleep(0.2)
            assert all(member.is_running() for member in family)
            process.kill()
        _gone, alive = psutil.wait_procs(family, timeout=5)
        process.kill()
    holder.kill()
    holder.wait()
    assert not [member for member in alive if member.status() != psutil.STATUS_ZOMBIE]


def test_a_process_started_by_hand_is_left_alone() -> None:
    code = "from harness_llm.transport.control import die_with_parent; die_with_parent(); print('lives')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, PARENT_VARIABLE: "1"}, capture_output=True, text=True
    )
    assert done.stdout == "lives\n"

"""Children over a real control plane; the processes are in the test's hands."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import zmq

from harness_llm.errors import EngineError, HostError, LoadgenLost, ReplicaLost
from harness_llm.launch import children as children_module
from harness_llm.launch.children import Children
from harness_llm.launch.local import Child
from harness_llm.transport.wire import ControlMessage, Done, Failed, Shutdown, Stage, decode_control, encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Process:
    """A process that ends when the test says so."""

    code: int | None = None

    def poll(self) -> int | None:
        return self.code


class _Child(Child):
    """A child whose signals are noted."""

    signals: list[int]

    def signal_group(self, number: signal.Signals) -> None:
        self.signals.append(number)


class _World:
    def __init__(self, folder: Path, children: Children, heard: list[tuple[str, ControlMessage]]) -> None:
        self.folder, self.children, self.heard = folder, children, heard
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.sockets: dict[str, zmq.Socket[bytes]] = {}
        self.ended: list[tuple[list[str], float]] = []

    def start(self, name: str) -> Any:
        log = self.folder / f"{name.replace('/', '-')}.txt"
        log.write_text("what it last wrote\n")
        return self.children.start("module", name, self.folder / "spec", log)

    def say(self, name: str, message: ControlMessage) -> None:
        if name not in self.sockets:
            socket = self.sockets[name] = self.context.socket(zmq.DEALER)
            socket.setsockopt(zmq.IDENTITY, name.encode())
            socket.connect(self.children.listen(None))
        self.sockets[name].send(encode(message))

    def hear_all(self, count: int) -> None:
        deadline = time.monotonic() + 10
        while len(self.heard) < count:
            assert time.monotonic() < deadline
            self.children.turn()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_World]:
    heard: list[tuple[str, ControlMessage]] = []
    monkeypatch.setattr(children_module, "_POLL_MS", 20)
    with Children(lambda name, message: heard.append((name, message))) as children:
        world = _World(tmp_path, children, heard)

        def start_child(module: str, name: str, spec: Path, log: Path, environment: object) -> Child:
            del module, spec, environment
            child = _Child(name, log, _Process(), time.monotonic())  # type: ignore[arg-type]
            child.signals = []
            return child

        monkeypatch.setattr(children_module, "start_child", start_child)
        monkeypatch.setattr(
            children_module,
            "end_all",
            lambda ended, grace_s: world.ended.append(([child.name for child in ended], grace_s)),
        )
        children.silence_s = 1000.0
        children.listen(None)
        yield world
        world.context.destroy(linger=0)


def test_words_reach_the_supervisor_by_name_and_strangers_are_not_heard(world: _World) -> None:
    world.start("replica-0")
    world.say("stranger", Stage("hello"))
    world.say("replica-0", Stage("loading"))
    world.hear_all(1)
    assert world.heard == [("replica-0", Stage("loading"))]


@pytest.mark.parametrize(
    ("name", "lost"), [("replica-0", ReplicaLost), ("loadgen-Server/performance", LoadgenLost)]
)
def test_a_death_is_noticed_by_its_kind_with_the_log_and_the_group_is_killed(
    world: _World, name: str, lost: type[Exception]
) -> None:
    child = world.start(name)
    child.process.code = -9
    with pytest.raises(lost, match=f"{name} was killed by SIGKILL") as caught:
        world.children.turn()
    assert "what it last wrote" in str(caught.value)
    assert child.signals == [signal.SIGKILL]


def test_last_words_tell_why_a_child_died(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may come between the look at the messages and the look at the process."""
    child = world.start("replica-0")
    hear = world.children._hear

    def hear_then_die(timeout_ms: int) -> None:
        hear(timeout_ms)
        if timeout_ms:  # the first look: nothing has come yet
            world.say("replica-0", Failed("EngineError", "out of memory", "Take less."))
            assert world.children._control is not None
            assert world.children._control._socket.poll(5000)
            child.process.code = 3

    monkeypatch.setattr(world.children, "_hear", hear_then_die)
    with pytest.raises(EngineError, match="replica-0: out of memory") as caught:
        world.children.turn()
    assert caught.value.remedy == "Take less."


@pytest.mark.parametrize(("kind", "raised"), [("HostError", HostError), ("NoSuchError", EngineError)])
def test_a_child_that_gives_up_is_an_error_of_its_kind(
    world: _World, kind: str, raised: type[Exception]
) -> None:
    child = world.start("replica-0")
    world.say("replica-0", Failed(kind, "no room", ""))
    with pytest.raises(raised, match="replica-0: no room") as caught:
        world.hear_all(1)
    assert str(child.log) in str(caught.value)


def test_a_child_that_is_done_may_end_and_fall_silent_whatever_it_says_after(world: _World) -> None:
    child = world.start("loadgen-Offline/accuracy")
    world.say(child.name, Done({}))
    world.say(child.name, Stage("closing"))
    world.hear_all(2)
    child.process.code = 0
    child.last_heard = 0.0
    world.children.turn()
    assert child.signals == []


def test_a_done_that_comes_with_the_end_counts(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    child = world.start("loadgen-Offline/accuracy")
    hear = world.children._hear
    monkeypatch.setattr(world.children, "_hear", lambda timeout_ms: None if timeout_ms else hear(5000))
    world.say(child.name, Done({}))
    child.process.code = 0
    world.children.turn()
    assert world.heard == [(child.name, Done({}))]


def test_a_silent_child_is_killed_and_named(world: _World) -> None:
    child = world.start("replica-0")
    world.say("replica-0", Stage("ready"))
    world.hear_all(1)
    world.children.silence_s = 8.0
    child.last_heard -= 7.0
    world.children.turn()
    child.last_heard -= 1.5
    with pytest.raises(ReplicaLost, match=r"replica-0 has been silent for 8\.\d s"):
        world.children.turn()
    assert child.signals == [signal.SIGKILL]


def test_a_child_that_imports_is_given_a_minute_for_its_first_word(world: _World) -> None:
    child = world.start("replica-0")
    world.children.silence_s = 2.0
    child.last_heard -= 58.0
    world.children.turn()
    child.last_heard -= 3.0
    with pytest.raises(ReplicaLost, match="silent for 61"):
        world.children.turn()


def test_replicas_have_ports_of_their_own_and_one_endpoint_serves_a_run(tmp_path: Path) -> None:
    heard: list[tuple[str, ControlMessage]] = []
    with Children(lambda name, message: heard.append((name, message))) as children:
        first = children.listen(None)
        assert children.listen(5000) == first
        endpoints = [children.data_endpoint(index) for index in range(3)]
        assert len({first, *endpoints}) == 4
        assert all(endpoint.startswith("ipc://") for endpoint in endpoints)
        children._port = 5000
        endpoints = [children.data_endpoint(index) for index in range(3)]
        assert endpoints == [f"tcp://127.0.0.1:{port}" for port in (5001, 5002, 5003)]


def test_those_in_good_order_are_told_to_stop_and_given_time_the_others_are_not(world: _World) -> None:
    world.start("replica-0")
    world.start("replica-1")
    world.say("replica-0", Stage("ready"))
    world.hear_all(1)
    world.children.end_all(in_good_order={"replica-0"})
    assert world.sockets["replica-0"].poll(5000)
    assert decode_control(world.sockets["replica-0"].recv()) == Shutdown()
    assert world.ended == [(["replica-1"], 0), (["replica-0"], 5.0)]
    assert world.children.names == []


def test_one_child_can_be_ended_alone(world: _World) -> None:
    child = world.start("loadgen-Offline/performance")
    world.start("replica-0")
    world.children.end(child)
    assert world.ended == [([child.name], 0)]
    assert world.children.names == ["replica-0"]

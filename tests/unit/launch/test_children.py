"""Children over a real control plane; the processes are in the test's hands."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness_llm.errors import EngineError, HostError, LoadgenLost, ProtocolError, ReplicaLost, RunBroken
from harness_llm.launch import children as children_module
from harness_llm.launch.child import Child
from harness_llm.launch.children import Children
from harness_llm.launch.role import Role
from harness_llm.testing import FakeHandle, FakeLauncher
from harness_llm.transport.listening import ListeningClock
from harness_llm.transport.wire import (
    PROTOCOL_VERSION,
    ControlMessage,
    Done,
    Failed,
    Heartbeat,
    Progress,
    Ready,
    Shutdown,
    Stage,
    decode_control,
)

REPLICA = Role("replica", "m", lost=ReplicaLost, silence_s=1000)
LOADGEN = Role("loadgen", "m", started="word", lost=LoadgenLost, silence_s=1000, ends_by="kill")
SAMPLER = Role(
    "sampler", "m", started="at once", first_word_s=None, silence_s=None, essential=False, ends_by="signal"
)


class _World:
    def __init__(self, folder: Path, children: Children, launcher: FakeLauncher, now: list[float]) -> None:
        self.folder, self.children, self.launcher, self._now = folder, children, launcher, now
        self.ended: list[tuple[list[str], float]] = []

    def start(self, role: Role, name: str, hear: Callable[[Progress], None] | None = None) -> Child:
        return self.children.start(role, name, self.folder / "spec", self.folder / "log.txt", hear=hear)

    def say(self, name: str, message: ControlMessage) -> None:
        self.launcher.say(self.children.control, name, message)

    def handle(self, child: Child) -> FakeHandle:
        return self.launcher.started[child.name]

    def turn_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            self.children.turn()

    def listen(self, seconds: float) -> None:
        """Let time pass while the children are looked at twice a second, and say nothing."""
        for _ in range(round(seconds * 2)):
            self._now[0] += 0.5
            self.children.turn()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_World]:
    monkeypatch.setattr(children_module, "_POLL_MS", 10)
    launcher, now = FakeLauncher(), [0.0]
    with Children(launcher=launcher) as children:
        children.clock = ListeningClock(lambda: now[0])
        world = _World(tmp_path, children, launcher, now)
        assert children.control
        end_all = children_module.end_all

        def note(handles: list[FakeHandle], grace_s: float) -> None:
            if handles:
                world.ended.append(([handle.name for handle in handles], grace_s))
            end_all(handles, 0)

        monkeypatch.setattr(children_module, "end_all", note)
        yield world
        launcher.close()


def test_a_child_is_known_by_what_it_said_and_strangers_are_not_heard(world: _World) -> None:
    progress: list[Progress] = []
    child, other = world.start(LOADGEN, "a", progress.append), world.start(LOADGEN, "b")
    world.say("stranger", Stage("hello"))
    world.say("a", Stage("loading"))
    world.say("a", Heartbeat(7, 1, 2, 30))
    world.say("a", Progress(3, 2, 1, b"", b""))
    world.say("b", Progress(9, 9, 9, b"", b""))
    world.turn_until(lambda: bool(progress) and other.has_spoken)
    assert (child.stage, child.heartbeat) == ("loading", Heartbeat(7, 1, 2, 30))
    assert progress == [Progress(3, 2, 1, b"", b"")]
    assert (other.stage, other.heartbeat) == ("", Heartbeat())


@pytest.mark.parametrize(
    ("role", "before", "word", "after"),
    [
        (REPLICA, False, Stage("loading"), False),
        (REPLICA, False, Ready(PROTOCOL_VERSION, "ipc://x", {}), True),
        (LOADGEN, False, Heartbeat(), True),
        (SAMPLER, True, Heartbeat(), True),
    ],
)
def test_a_role_says_when_its_children_count_as_started(
    world: _World, role: Role, before: bool, word: ControlMessage, after: bool
) -> None:
    child = world.start(role, "x")
    assert child.is_started == before
    world.say("x", word)
    world.turn_until(lambda: child.has_spoken)
    assert child.is_started == after


def test_a_child_of_another_protocol_is_refused(world: _World) -> None:
    world.start(REPLICA, "x")
    world.say("x", Ready(PROTOCOL_VERSION + 1, "ipc://x", {}))
    with pytest.raises(ProtocolError, match=f"x speaks protocol {PROTOCOL_VERSION + 1}"):
        world.turn_until(lambda: False)


@pytest.mark.parametrize("role", [REPLICA, LOADGEN, replace(SAMPLER, essential=True)], ids=lambda r: r.kind)
def test_a_death_is_an_error_of_the_role_with_the_log_whatever_the_childs_name(
    world: _World, role: Role
) -> None:
    child = world.start(role, "loadgen-replica-0")
    world.handle(child).reason = "was killed by SIGKILL"
    with pytest.raises(role.lost, match="loadgen-replica-0 was killed by SIGKILL") as caught:
        world.children.turn()
    assert type(caught.value) is role.lost
    assert "what it last wrote" in str(caught.value) and str(world.folder / "log.txt") in str(caught.value)
    assert world.handle(child).signals == [signal.SIGKILL], "what it started ends, too"


@pytest.mark.parametrize("way", ["dies", "gives up", "falls silent"])
def test_the_loss_of_a_child_that_is_not_essential_is_recorded_and_the_others_go_on(
    world: _World, way: str
) -> None:
    role = replace(SAMPLER, silence_s=5.0)
    replica, sampler = world.start(REPLICA, "replica"), world.start(role, "sampler")
    world.say("sampler", Stage("samples"))
    world.turn_until(lambda: sampler.has_spoken)
    if way == "dies":
        world.handle(sampler).reason = "ended with exit code 7"
    elif way == "gives up":
        world.say("sampler", Failed("HostError", "no device ended it", "Ask root."))
    world.turn_until(lambda: world.listen(6) or bool(world.children.losses))
    (loss,) = world.children.losses
    assert (loss.name, loss.kind) == ("sampler", "sampler")
    assert {"dies": "exit code 7", "gives up": "no device", "falls silent": "silent for"}[way] in loss.reason
    assert list(world.children) == [replica]
    assert world.handle(sampler).reason is not None, "nothing of it is left"
    world.say("sampler", Stage("late words"))
    world.listen(3)
    assert len(world.children.losses) == 1
    assert world.handle(replica).signals == []


def test_a_child_that_never_speaks_and_need_not_is_not_missed(world: _World) -> None:
    sampler = world.start(SAMPLER, "sampler")
    world.listen(300)
    assert list(world.children) == [sampler] and not world.children.losses


def test_last_words_tell_why_a_child_died(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may come between the look at the messages and the look at the process."""
    child = world.start(REPLICA, "replica-0")
    hear = world.children._hear

    def hear_then_die(timeout_ms: int) -> None:
        hear(timeout_ms)
        if timeout_ms:  # the first look: nothing has come yet
            world.say("replica-0", Failed("EngineError", "out of memory", "Take less."))
            assert world.children._control is not None
            assert world.children._control._socket.poll(5000)
            world.handle(child).reason = "ended with exit code 3"

    monkeypatch.setattr(world.children, "_hear", hear_then_die)
    with pytest.raises(EngineError, match="replica-0: out of memory") as caught:
        world.children.turn()
    assert caught.value.remedy == "Take less."


@pytest.mark.parametrize(
    ("kind", "raised"),
    [("HostError", HostError), ("NoSuchError", EngineError), ("BROKEN_INPUT", EngineError)],
)
def test_a_child_that_gives_up_is_an_error_of_its_kind(
    world: _World, kind: str, raised: type[Exception]
) -> None:
    child = world.start(REPLICA, "replica-0")
    world.say("replica-0", Failed(kind, "no room", ""))
    with pytest.raises(raised, match="replica-0: no room") as caught:
        world.turn_until(lambda: False)
    assert str(child.handle.log) in str(caught.value)


def test_a_child_that_is_done_may_end_and_fall_silent_whatever_it_says_after(world: _World) -> None:
    child = world.start(replace(LOADGEN, silence_s=2), "loadgen")
    world.say("loadgen", Done({"seconds": 1}))
    world.say("loadgen", Stage("closing"))
    world.turn_until(lambda: child.stage == "closing")
    world.listen(10)
    world.handle(child).reason = "ended with exit code 0"
    world.listen(10)
    assert child.report == {"seconds": 1}
    assert world.handle(child).signals == []


def test_a_done_that_comes_with_the_end_counts(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    child = world.start(LOADGEN, "loadgen")
    hear = world.children._hear
    monkeypatch.setattr(world.children, "_hear", lambda timeout_ms: None if timeout_ms else hear(5000))
    world.say("loadgen", Done({}))
    world.handle(child).reason = "ended with exit code 0"
    world.children.turn()
    assert child.report == {}


def test_a_silent_child_is_killed_and_named(world: _World) -> None:
    child = world.start(REPLICA, "replica-0")
    world.say("replica-0", Stage("ready"))
    world.turn_until(lambda: child.has_spoken)
    child.silence_s = 8.0  # whoever measures on it has less patience than its role
    world.listen(8)
    with pytest.raises(ReplicaLost, match=r"replica-0 has been silent for 8\.5 s"):
        world.listen(1)
    assert world.handle(child).signals == [signal.SIGKILL]


def test_a_child_that_imports_is_given_a_minute_for_its_first_word(world: _World) -> None:
    world.start(replace(REPLICA, silence_s=2), "replica-0")
    world.listen(60)
    with pytest.raises(ReplicaLost, match=r"silent for 60\.5"):
        world.listen(1)


def test_who_did_not_listen_takes_nobody_for_silent(world: _World) -> None:
    """The supervisor was stopped, or its terminal held it up: no child has had a chance to be heard."""
    child = world.start(replace(REPLICA, silence_s=8), "replica-0")
    world.say("replica-0", Stage("ready"))
    world.turn_until(lambda: child.has_spoken)
    for _ in range(5):
        world._now[0] += 3600
        world.children.turn()
    world.listen(2)
    with pytest.raises(ReplicaLost, match="silent for 8"):
        world.listen(2)


def test_an_own_control_endpoint_serves_a_command_and_says_where_others_may_listen(tmp_path: Path) -> None:
    with Children() as children:
        first = children.control
        assert children.control == first and first.startswith("ipc://")
        assert children.place_to_listen(3) == first.rpartition("/")[0]
    with Children("127.0.0.1", 5000) as children:
        children._control = None
        assert children.place_to_listen(3) == "tcp://127.0.0.1:5001-5003"
    with Children("127.0.0.1") as children:
        assert children.keys is not None and children.control.startswith("tcp://127.0.0.1:")
        assert children.place_to_listen(3) == "tcp://127.0.0.1:*"


def test_a_second_fleet_listens_beside_the_first(world: _World) -> None:
    world.children._interface, world.children._port = "127.0.0.1", 5000
    for number, endpoint in enumerate(("tcp://127.0.0.1:5001", "tcp://127.0.0.1:5002", "")):
        child = world.start(REPLICA, f"r{number}")
        world.say(child.name, Ready(PROTOCOL_VERSION, endpoint, {}))
        world.turn_until(lambda: child.ready is not None)  # noqa: B023 - called at once
    assert world.children.place_to_listen(2) == "tcp://127.0.0.1:5001-5004"


def test_no_two_children_of_a_command_have_one_name(world: _World) -> None:
    """Last words of one that is gone must not be taken for another's."""
    names = [world.children.free_name("loadgen-Server/performance") for _ in range(3)]
    assert names[0] == "loadgen-Server/performance" and len(set(names)) == 3
    world.start(LOADGEN, "x")
    assert world.children.free_name("x") != "x"


def test_those_that_can_be_asked_are_and_are_given_time_the_others_are_not(world: _World) -> None:
    ready, loading = world.start(REPLICA, "ready"), world.start(REPLICA, "loading")
    sampler, loadgen = world.start(SAMPLER, "sampler"), world.start(LOADGEN, "loadgen")
    for name in ("ready", "loadgen"):
        world.say(name, Ready(PROTOCOL_VERSION, "ipc://x", {}))
    world.say("loading", Stage("loading the model"))
    world.turn_until(lambda: loadgen.has_spoken and ready.is_started and loading.has_spoken)
    world.children.end(ready, loading, sampler, loadgen)
    assert world.launcher.sockets["ready"].poll(5000)
    assert decode_control(world.launcher.sockets["ready"].recv()) == Shutdown()
    assert not world.launcher.sockets["loadgen"].poll(50)
    assert world.ended == [(["loading", "loadgen"], 0), (["ready", "sampler"], 5.0)]
    assert world.handle(sampler).signals[0] == signal.SIGTERM
    assert list(world.children) == []


def test_one_child_can_be_ended_alone(world: _World) -> None:
    child, other = world.start(LOADGEN, "loadgen"), world.start(REPLICA, "replica-0")
    world.children.end(child)
    assert world.ended == [(["loadgen"], 0)]
    assert list(world.children) == [other]


def test_a_role_needs_only_what_differs_from_the_usual() -> None:
    role = Role("trainer", "elsewhere.trainer")
    assert (role.started, role.essential, role.lost) == ("ready", True, RunBroken)

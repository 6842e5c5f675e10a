"""A fleet over the real control plane; its children say at once what good ones would, or what a test says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from harness_llm.core import Mode, Scenario
from harness_llm.engines.base import SOCKETS_VARIABLE
from harness_llm.errors import EngineError, HostError, LoadgenLost, ReplicaLost
from harness_llm.fleet import fleet as fleet_module
from harness_llm.fleet import measurement as measurement_module
from harness_llm.fleet.fleet import Fleet, FleetPlan, ReplicaPlan
from harness_llm.fleet.watch import Watch
from harness_llm.launch import children as children_module
from harness_llm.launch.launcher import end_all
from harness_llm.testing import FakeHandle, FakeLauncher
from harness_llm.transport.listening import ListeningClock
from harness_llm.transport.spec import LoadgenTest
from harness_llm.transport.wire import PROTOCOL_VERSION, Done, Heartbeat, Progress, Ready
from harness_llm.views.progress import TestProgress

FACTS = {"name": "simulated", "version": "1", "resolved": {}}
REPORT = {"seconds": 1.0, "samples": 9, "tokens": 18}
TEST = LoadgenTest(
    name="Server/performance",
    scenario=Scenario.SERVER,
    mode=Mode.PERFORMANCE,
    loadgen_model="mine",
    user_conf="mine.Server.target_qps = 7\n",
    target_qps=7,
    samples="/samples.npz",
    silence_timeout_s=900,
    stall_timeout_s=30,
)


class _World:
    """A watch whose time passes a second at each turn.

    Attributes:
        is_good: Whether children say at once what good ones would.
    """

    def __init__(self, folder: Path, watch: Watch, launcher: FakeLauncher, said: list[str]) -> None:
        self.folder, self.watch, self.launcher, self.said = folder, watch, launcher, said
        self.stages: list[str] = []
        self.is_good = True
        launcher.on_start = self._on_start

    def _on_start(self, handle: FakeHandle, spec: dict[str, Any]) -> None:
        if not self.is_good:
            return
        if handle.role.kind == "replica":
            self.say(handle.name, Ready(PROTOCOL_VERSION, f"ipc://{handle.name}", FACTS))
        else:
            self.say(handle.name, Done(REPORT))
            handle.reason = "ended with exit code 0"

    def say(self, name: str, message: Any) -> None:
        self.launcher.say(self.watch.children.control, name, message)

    def fleet(self, name: str = "a", replicas: int = 1, **patience: float) -> Fleet:
        plan = FleetPlan(
            name,
            tuple(ReplicaPlan("simulated", {"x": n}, {"GPU": str(n)}) for n in range(replicas)),
            **patience,
        )
        return self.watch.fleet(plan, self.folder / name)

    def test_json(self, name: str = "test") -> dict[str, Any]:
        return json.loads((self.folder / name / "test.json").read_text())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_World]:
    monkeypatch.setattr(children_module, "_POLL_MS", 10)
    monkeypatch.setattr(
        children_module, "end_all", lambda handles, _: end_all(handles, 0)
    )  # none ends by itself
    monkeypatch.setattr(measurement_module, "check_written", lambda _: None)
    monkeypatch.setattr(fleet_module, "release", lambda *_: None)
    said: list[str] = []
    launcher, now = FakeLauncher(), [0.0]

    def passes() -> float:
        now[0] += 0.5  # two looks a turn
        return now[0]

    view: Any = SimpleNamespace(say=said.append, tick=lambda record: world.stages.append(record.stage))
    with Watch(view, launcher=launcher) as watch:
        watch.children.clock = ListeningClock(passes)
        world = _World(tmp_path, watch, launcher, said)
        yield world
    launcher.close()


def test_replicas_are_told_what_they_are_and_say_where_they_listen(world: _World) -> None:
    with world.fleet(replicas=2) as fleet:
        assert list(world.launcher.started) == ["a/replica-0", "a/replica-1"]
        first, second = world.launcher.specs.values()
        assert (first["engine"], first["engine_arguments"], second["engine_arguments"]) == (
            "simulated", {"x": 0}, {"x": 1},
        )  # fmt: skip
        sockets = first["control"].removeprefix("ipc://").removesuffix("/control")
        assert [handle.environment for handle in world.launcher.started.values()] == [
            {"GPU": "0", SOCKETS_VARIABLE: sockets},
            {"GPU": "1", SOCKETS_VARIABLE: sockets},
        ]
        assert fleet.endpoints == ["ipc://a/replica-0", "ipc://a/replica-1"]
        assert fleet.facts == [FACTS, FACTS]
        assert json.loads((world.folder / "a/1/facts.json").read_text()) == FACTS
    assert all(handle.reason for handle in world.launcher.started.values())
    assert fleet.replicas == [] and list(world.watch.children) == []


def test_replicas_that_are_late_are_named_and_gone(world: _World) -> None:
    world.is_good = False
    with pytest.raises(EngineError, match=r"a/replica-0, a/replica-1: not ready after 2\d s") as caught:
        world.fleet(replicas=2, start_timeout_s=20, silence_timeout_s=900).__enter__()
    assert "engine_start_timeout_s" in caught.value.remedy
    assert list(world.watch.children) == []
    assert world.stages[0] == "2 replicas: starting"


def test_a_replica_that_loads_is_judged_by_the_plans_patience_and_then_by_the_tests(world: _World) -> None:
    with world.fleet(silence_timeout_s=77) as fleet:
        (replica,) = fleet.replicas
        assert replica.silence_s == 77
        fleet.begin(msgspec.structs.replace(TEST, silence_timeout_s=3), world.folder / "test")
        assert replica.silence_s == 3
        assert {child.silence_s for child in world.watch.children} == {3}


@pytest.mark.parametrize(
    ("others", "told"), [([], ""), ([41, 42], "(process ids 41, 42)"), (range(9), "0, 1, 2, 3 and 5 more)")]
)
def test_another_run_on_the_host_is_said(world: _World, others: list[int], told: str) -> None:
    world.launcher.others = others
    with world.fleet():
        notes = [line for line in world.said if "another run is on this host" in line]
    assert len(notes) == bool(others)
    assert all(told in note for note in notes)


def test_a_test_is_told_everything_and_its_result_is_recorded(world: _World) -> None:
    with world.fleet(replicas=2) as fleet:
        result = fleet.measure(TEST, world.folder / "test")
        again = fleet.measure(TEST.with_qps(8), world.folder / "again")
    assert (result.test, result.folder, result.state) == (TEST, world.folder / "test", "complete")
    assert result.report == REPORT
    spec = world.launcher.specs["loadgen-Server/performance"]
    assert spec["replicas"] == ["ipc://a/replica-0", "ipc://a/replica-1"]
    assert spec["folder"] == str(world.folder / "test")
    assert (spec["test"]["user_conf"], spec["test"]["samples"]) == (TEST.user_conf, "/samples.npz")
    record = world.test_json()
    assert (record["state"], record["target_qps"], record["samples"]) == ("complete", 7, 9)
    assert (again.test.target_qps, world.test_json("again")["target_qps"]) == (8, 8)
    assert len(world.launcher.started) == 4, "two loadgen processes of different names, and no reload"


def test_logs_that_loadgen_could_not_write_whole_break_the_test(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(folder: Path) -> None:
        raise HostError(f"{folder}: cut", "Free disk space.")

    monkeypatch.setattr(measurement_module, "check_written", cut)
    with world.fleet() as fleet, pytest.raises(HostError, match="cut"):
        fleet.measure(TEST, world.folder / "test")
    assert world.test_json()["state"] == "broken" and "cut" in world.test_json()["reason"]


def _begin(world: _World, fleet: Fleet, **changes: Any) -> str:
    """A test whose process says nothing by itself; its name."""
    world.is_good = False
    fleet.begin(msgspec.structs.replace(TEST, **changes), world.folder / "test")
    return list(world.launcher.started)[-1]


def test_a_test_in_which_nothing_happens_names_who_has_what(world: _World) -> None:
    turns = 0
    wanted = "4 of 9 queries.*a/replica-0 5, loadgen.* 6"
    with pytest.raises(EngineError, match=wanted) as caught, world.fleet() as fleet:
        name = _begin(world, fleet)
        world.say("a/replica-0", Heartbeat(5))
        world.say(name, Heartbeat(6))
        world.say(name, Progress(9, 4, 8, b"", b""))
        while turns < 100:
            turns += 1
            world.watch.turn()
    assert turns >= 28, "30 s since the last news"
    assert "harness_config.stall_timeout_s" in caught.value.remedy
    assert world.test_json()["state"] == "broken" and "4 of 9" in world.test_json()["reason"]


def test_news_keep_a_test_from_being_taken_for_stuck(world: _World) -> None:
    with world.fleet() as fleet:
        name = _begin(world, fleet)
        for done in range(80):
            world.say(name, Progress(100, done, 0, b"", b""))
            world.watch.turn()
        assert fleet.running is not None and fleet.running.progress.done > 70


@pytest.mark.parametrize(("mode", "done"), [(Mode.ACCURACY, 8), (Mode.PERFORMANCE, 9)])
def test_between_queries_loadgen_may_wait(world: _World, mode: Mode, done: int) -> None:
    with world.fleet() as fleet:
        name = _begin(world, fleet, mode=mode, expected=9, stall_timeout_s=None)
        world.say(name, Progress(done, done, 16, b"", b""))
        for _ in range(260):
            world.watch.turn()


def test_loadgen_that_has_every_answer_and_does_not_end_is_named(world: _World) -> None:
    turns, wanted = 0, "every query is answered, and LoadGen has not ended for 120 s"
    with pytest.raises(LoadgenLost, match=wanted) as caught, world.fleet() as fleet:
        name = _begin(world, fleet, mode=Mode.ACCURACY, expected=9, stall_timeout_s=None)
        world.say(name, Progress(9, 9, 18, b"", b""))
        while turns < 300:
            turns += 1
            world.watch.turn()
    assert turns >= 235 and "system clock" in caught.value.remedy


def test_a_process_that_stays_after_its_test_is_ended(world: _World) -> None:
    with pytest.raises(LoadgenLost, match="did not end after its test"), world.fleet() as fleet:
        name = _begin(world, fleet, silence_timeout_s=3)
        fleet.replicas[0].silence_s = 900
        world.say(name, Done(REPORT))
        for _ in range(30):
            world.watch.turn()
    assert world.test_json()["state"] == "broken"
    assert world.launcher.started[name].reason is not None


def test_a_test_that_is_abandoned_names_a_replica_that_stands_still(world: _World) -> None:
    with world.fleet() as fleet:
        _begin(world, fleet)
        for _ in range(8):
            world.say("a/replica-0", Heartbeat(in_flight=5, generated=7))
            world.watch.turn()
        assert fleet.abandon("it is late").reason.startswith(
            "it is late; a/replica-0 has generated nothing for "
        )


def test_a_replica_that_falls_silent_ends_the_test_not_the_samples_that_become_late_by_it(
    world: _World,
) -> None:
    lost: list[str] = []
    wanted = "a/replica-0 has been silent"
    with pytest.raises(ReplicaLost, match=wanted), world.fleet() as fleet:
        name = _begin(world, fleet, silence_timeout_s=8)
        world.say("a/replica-0", Heartbeat(in_flight=5, generated=7))
        world.watch.turn()
        for _ in range(30):
            world.say(name, Progress(9, 4, 8, b"", b"", lost="3 samples are late"))
            world.watch.turn()
            lost.append(fleet.running.progress.lost if fleet.running else "")
    assert len(lost) > 3 and not any(lost)


@pytest.mark.parametrize("moves", [True, False])
def test_a_test_is_lost_once_each_replica_went_forward_or_stands_still_long_enough_to_be_named(
    world: _World, moves: bool
) -> None:
    with world.fleet() as fleet:
        name = _begin(world, fleet)
        assert fleet.running is not None
        for turn in range(9):
            world.say("a/replica-0", Heartbeat(in_flight=5, generated=7 + turn * moves))
            if turn == 4:
                world.say(name, Progress(9, 4, 8, b"", b"", lost="3 samples are late"))
            world.watch.turn()
            if fleet.running.progress.lost:
                break
        assert fleet.running.progress.lost == "3 samples are late" and turn >= 4
        assert (fleet.running.still_s(0) < 2) == moves


def test_engines_drop_an_abandoned_test_before_the_next_one(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[int] = []
    monkeypatch.setattr(fleet_module, "release", lambda *_: freed.append(1))
    with world.fleet() as fleet:
        for count in (0, 1):
            _begin(world, fleet)
            assert len(freed) == count
            fleet.abandon("it is hopeless")
            assert len(freed) == count


def test_engines_are_freed_at_once_while_another_fleet_is_measured(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[int] = []
    monkeypatch.setattr(fleet_module, "release", lambda *_: freed.append(1))
    with world.fleet("a") as a, world.fleet("b") as b:
        world.is_good = False
        loads = [(a, TEST, world.folder / "first"), (b, TEST, world.folder / "second")]
        reasons = iter(["the first is hopeless", "", "the other, too"])
        results = world.watch.measure(loads, lambda _: next(reasons))
    assert [result.reason for result in results] == ["the first is hopeless", "the other, too"]
    assert len(freed) == 1, "the last has nobody to disturb"


def test_a_test_that_is_abandoned_says_why_and_leaves_the_fleet_to_the_next(world: _World) -> None:
    with world.fleet() as fleet:
        name = _begin(world, fleet)
        result = fleet.abandon("it is hopeless")
        assert (result.state, result.reason, result.report) == ("abandoned", "it is hopeless", {})
        assert world.launcher.started[name].reason is not None
        assert (world.test_json()["state"], world.test_json()["reason"]) == ("abandoned", "it is hopeless")
        assert fleet.running is None
        world.is_good = True
        assert fleet.measure(TEST, world.folder / "test").state == "complete"
    assert world.test_json("test.broken-1")["reason"] == "it is hopeless"
    assert sum(handle.role.kind == "replica" for handle in world.launcher.started.values()) == 1


def test_a_watcher_may_give_a_test_up(world: _World) -> None:
    asked: list[TestProgress] = []

    def give_up(progress: TestProgress) -> str:
        asked.append(progress)
        return "enough" if len(asked) == 3 else ""

    with world.fleet() as fleet:
        world.is_good = False
        assert fleet.measure(TEST, world.folder / "test", give_up).reason == "enough"
    assert [progress.test for progress in asked] == [TEST] * 3
    assert "Server/performance" in world.stages


def test_one_that_breaks_ends_all_that_are_measured_with_it(world: _World) -> None:
    with world.fleet("a") as a, world.fleet("b") as b:
        assert list(world.launcher.started) == ["a/replica-0", "b/replica-0"]
        world.is_good = False
        loads = [(a, TEST, world.folder / "first"), (b, TEST, world.folder / "second")]

        def kill(progress: TestProgress) -> str:
            del progress
            world.launcher.started["b/replica-0"].reason = "was killed by SIGKILL"
            return ""

        with pytest.raises(ReplicaLost, match="b/replica-0 was killed"):
            world.watch.measure(loads, kill)
        assert a.running is None and b.running is None
    for name in ("first", "second"):
        assert world.test_json(name)["state"] == "broken"
        assert "b/replica-0" in world.test_json(name)["reason"]


def test_an_end_from_outside_interrupts_the_running_test(world: _World) -> None:
    with pytest.raises(KeyboardInterrupt), world.fleet() as fleet:
        _begin(world, fleet)
        raise KeyboardInterrupt
    assert (world.test_json()["state"], world.test_json()["reason"]) == ("broken", "interrupted")
    assert all(handle.reason for handle in world.launcher.started.values())


def test_a_fleet_runs_one_test_at_a_time(world: _World) -> None:
    with world.fleet() as fleet:
        _begin(world, fleet)
        with pytest.raises(AssertionError, match="one test at a time"):
            fleet.begin(TEST, world.folder / "other")


def test_what_happens_is_said_once(world: _World) -> None:
    with world.fleet() as fleet:
        fleet.measure(TEST, world.folder / "test")
    told = "\n".join(world.said)
    for part in (
        "1 replica of simulated starting", "1 replica of simulated 1 ready after",
        "Server/performance: begins", "Server/performance: LoadGen ended after 1.0 s, 9 samples, 18 tokens",
    ):  # fmt: skip
        assert told.count(part) == 1

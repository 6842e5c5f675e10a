"""What the supervisor tells the processes of a test, and makes of their end; the processes are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.errors import HostError
from harness_llm.fleet import supervisor as supervisor_module
from harness_llm.fleet.plan import RunPlan
from harness_llm.fleet.supervisor import Supervisor
from harness_llm.results.folder import RunFolder, read_json
from harness_llm.transport.spec import TestSpec, read_spec
from harness_llm.transport.wire import PROTOCOL_VERSION, Done, Ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from own_benchmark import Setup

FACTS = {"name": "simulated", "version": "1", "resolved": {}}
REPORT = {"seconds": 1.0, "samples": 9, "tokens": 18}


class _World:
    """A supervisor whose children say at once what good ones would."""

    def __init__(self, supervisor: Supervisor, said: list[str]) -> None:
        self.supervisor, self.said = supervisor, said
        self.started: list[str] = []
        self.specs: dict[str, TestSpec] = {}
        self._due: list[tuple[str, Any]] = []

    def start(self, module: str, name: str, spec: Path, log: Path, *_: object) -> Any:
        self.started.append(name)
        if module.endswith("loadgen.process"):
            self.specs[name] = read_spec(TestSpec, spec)
            self._due.append((name, Done(REPORT)))
        else:
            self._due.append((name, Ready(PROTOCOL_VERSION, f"ipc://{name}", FACTS)))
        return SimpleNamespace(name=name, log=log, exit_reason=lambda: "ended with exit code 0")

    def turn(self) -> None:
        for name, message in self._due:
            self.supervisor._take(name, message)
        self._due.clear()

    def run(self, setup: Setup, **harness: Any) -> list[str]:
        """Run the tests of one scenario; returns the folders that were followed up."""
        first, *_ = setup.prepared(**harness).tests
        tests = (
            first,
            replace(first, name="Offline/TEST07", samples="samples_TEST07.npz", audit_conf="# x\n"),
        )
        followed: list[str] = []
        plan = RunPlan(tests, setup.conf, 10, 80)
        self.supervisor.run(plan, lambda folder: followed.append(folder.name))
        return followed


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_World]:
    said: list[str] = []
    view = SimpleNamespace(say=said.append, tick=lambda *_: None)
    monkeypatch.setattr(supervisor_module, "living", lambda _: [])
    monkeypatch.setattr(supervisor_module, "check_written", lambda _: None)
    with RunFolder(tmp_path / "run") as folder, Supervisor(folder, view) as supervisor:  # type: ignore[arg-type]
        world, children = _World(supervisor, said), supervisor._children
        for name, stand_in in {
            "start": world.start,
            "turn": world.turn,
            "listen": lambda _: "ipc://control",
            "data_endpoint": lambda index: f"ipc://{index}",
            "end": lambda _: None,
        }.items():
            monkeypatch.setattr(children, name, stand_in)
        monkeypatch.setattr(type(children), "names", property(lambda _: ["replica-0"]))
        yield world


def test_each_test_is_told_of_its_own_samples_and_the_model_is_loaded_once(
    world: _World, setup: Setup
) -> None:
    assert world.run(setup) == ["performance", "TEST07"]
    assert world.started == ["replica-0", "loadgen-Offline/performance", "loadgen-Offline/TEST07"]
    run = setup.folder / "run"
    performance, own = world.specs.values()
    assert (performance.samples, own.samples) == (str(run / "samples.npz"), str(run / "samples_TEST07.npz"))
    assert performance.audit_conf is None
    assert own.audit_conf is not None and Path(own.audit_conf).read_text() == "# x\n"
    assert {Path(spec.user_conf).read_text() for spec in world.specs.values()} == {setup.conf.read_text()}
    assert read_json(run / "Offline/TEST07/test.json")["state"] == "complete"


def test_what_is_complete_and_followed_up_is_left_alone(world: _World, setup: Setup) -> None:
    world.run(setup)
    world.started.clear()
    assert world.run(setup) == []
    assert world.started == []


def test_logs_that_loadgen_could_not_write_whole_break_the_test(
    world: _World, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(folder: Path) -> None:
        raise HostError(f"{folder}: cut", "Free disk space.")

    monkeypatch.setattr(supervisor_module, "check_written", cut)
    with pytest.raises(HostError, match="cut"):
        world.run(setup)
    record = read_json(setup.folder / "run/Offline/performance/test.json")
    assert record["state"] == "broken" and "cut" in record["reason"]


@pytest.mark.parametrize("others", [[], [41, 42]])
def test_another_run_on_the_host_is_said(
    world: _World, setup: Setup, monkeypatch: pytest.MonkeyPatch, others: list[int]
) -> None:
    monkeypatch.setattr(supervisor_module, "living", lambda _: others)
    world.run(setup)
    notes = [line for line in world.said if "another run is on this host" in line]
    assert len(notes) == bool(others)
    assert all("41, 42" in note for note in notes)

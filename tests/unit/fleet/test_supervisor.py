"""The supervisor around children that are never started."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.config.model import HarnessConfig, RunConfig
from harness_llm.core import Mode
from harness_llm.errors import EngineError, ProtocolError
from harness_llm.fleet import supervisor as supervisor_module
from harness_llm.fleet.plan import PlannedTest
from harness_llm.fleet.supervisor import Supervisor
from harness_llm.results.folder import RunFolder, read_json
from harness_llm.transport.wire import PROTOCOL_VERSION, Ready
from harness_llm.views.progress import TestProgress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _View:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def tick(self, stage: str, progress: object) -> None:
        self.stages.append(stage)

    def close(self) -> None:
        """Nothing to close."""


def _test(scenario: str, **harness: Any) -> PlannedTest:
    config = HarnessConfig(
        benchmark="mine", scenario=scenario, engine="simulated", dataset="synthetic", dataset_shape="9:2:2",
        max_tokens=4, **harness,
    )  # fmt: skip
    return PlannedTest(
        f"{scenario}/performance", RunConfig(llm_config={}, harness_config=config), Mode.PERFORMANCE,
        "mine", 1.0, None, None, None,
    )  # fmt: skip


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    now = [0.0]
    monkeypatch.setattr(supervisor_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(supervisor_module, "living", lambda _: [])
    with RunFolder(tmp_path / "run") as folder, Supervisor(folder, _View()) as supervisor:
        children = supervisor._children
        names: list[str] = []
        children.listen = lambda port: "ipc://control"  # type: ignore[method-assign,assignment]
        children.start = lambda module, name, *_: names.append(name)  # type: ignore[method-assign,assignment,return-value]
        monkeypatch.setattr(type(children), "names", property(lambda _: names))

        def turn() -> None:
            now[0] += 1.0

        children.turn = turn  # type: ignore[method-assign]
        yield supervisor


def test_the_most_patient_timeouts_of_a_group_hold_whatever_their_order(supervisor: Supervisor) -> None:
    group = [
        _test("Offline", engine_start_timeout_s=20, silence_timeout_s=9),
        _test("Server", engine_start_timeout_s=70, silence_timeout_s=5),
        _test("Interactive", engine_start_timeout_s=40, silence_timeout_s=30),
    ]
    for order in (group, group[::-1]):
        with pytest.raises(EngineError, match="replica-0: not ready after 71 s"):
            supervisor._start_replicas(order)
        assert supervisor._children.silence_s == 30
        supervisor._children.names.clear()


def test_a_replica_of_another_protocol_is_refused(supervisor: Supervisor) -> None:
    with pytest.raises(ProtocolError, match=f"replica-0 speaks protocol {PROTOCOL_VERSION + 1}"):
        supervisor._take("replica-0", Ready(PROTOCOL_VERSION + 1, "ipc://x", {}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "writing its record"),
        ({"name": "Offline/accuracy", "mode": Mode.ACCURACY}, "scoring its answers"),
        ({"name": "Offline/TEST06", "audit_conf": "x"}, "verifying its answers"),
    ],
)
def test_what_follows_a_test_is_called_what_it_is(
    supervisor: Supervisor, changes: dict[str, Any], words: str
) -> None:
    test = replace(_test("Offline"), **changes)
    folder = supervisor._folder.test(test.name)
    folder.begin()
    view = supervisor._view
    assert isinstance(view, _View)
    ended: list[Path] = []

    def follow_up(path: Path) -> None:
        while not view.stages:
            pass
        ended.append(path)

    supervisor._children.turn = lambda: None  # type: ignore[method-assign]
    supervisor._follow_up(test, folder, follow_up)
    assert set(view.stages) == {f"{test.name}: {words}"}
    assert ended == [folder.path]
    assert read_json(folder.path / "test.json")["followed_up"] is True


def test_a_test_in_which_nothing_happens_names_who_has_what(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = TestProgress("Server/performance", 10, 1.0, None, None)
    progress.issued, progress.done = 9, 4
    supervisor._progress = progress
    monkeypatch.setattr(supervisor._children, "in_flight", lambda: {"replica-0": 5, "loadgen-x": 5})
    supervisor._check_progress(30)
    progress.last_change -= 31
    supervisor._check_progress(40)
    with pytest.raises(EngineError, match="4 of 9 queries.*replica-0 5, loadgen-x 5") as caught:
        supervisor._check_progress(30)
    assert "harness_config.stall_timeout_s" in caught.value.remedy
    supervisor._done = {}
    supervisor._check_progress(30)

"""The supervisor around children that are never started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.config.model import HarnessConfig, RunConfig
from harness_llm.core import Mode
from harness_llm.errors import EngineError, ProtocolError
from harness_llm.supervise import supervisor as supervisor_module
from harness_llm.supervise.folder import RunFolder
from harness_llm.supervise.plan import PlannedTest
from harness_llm.supervise.supervisor import Supervisor
from harness_llm.transport.wire import PROTOCOL_VERSION, Ready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _View:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def tick(self, stage: str, progress: object) -> None:
        """Nothing to see."""

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

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness_llm.config.model import RunConfig
from harness_llm.core import Mode
from harness_llm.errors import HostError
from harness_llm.fleet.plan import PlannedTest, RunPlan


def _test(name: str, **llm: Any) -> PlannedTest:
    config = RunConfig.model_validate(
        {
            "llm_config": llm,
            "harness_config": {
                "benchmark": "b", "scenario": name.partition("/")[0], "dataset": "synthetic",
                "dataset_shape": "1:1:2", "max_tokens": 2, "engine": "simulated",
            },
        }
    )  # fmt: skip
    return PlannedTest(name, config, Mode.PERFORMANCE, "b", 1.0, None, None, None)


def _plan(*tests: PlannedTest, samples: int = 100, tokens: int = 1000) -> RunPlan:
    return RunPlan(tests, Path("user.conf"), samples, tokens)


def test_tests_with_equal_engine_arguments_share_replicas() -> None:
    same = [
        _test("Offline/performance", a=1),
        _test("Server/performance", a=1),
        _test("Server/accuracy", a=1),
    ]
    other = _test("Interactive/performance", a=2)
    assert _plan(*same, other).groups() == [same, [other]]
    assert _plan().groups() == []


@pytest.mark.parametrize(("missing", "fits"), [(1, False), (0, True)])
def test_a_disk_must_hold_all_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int, fits: bool
) -> None:
    plan = _plan(_test("Offline/performance"), _test("Offline/accuracy"), samples=10**6, tokens=10**9)
    needed = 2 * (10**6 * 192 + 10**9 * 8) + (64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - missing))
    if fits:
        plan.check_disk(tmp_path)
        return
    with pytest.raises(HostError, match="MiB are free") as caught:
        plan.check_disk(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "--output" in caught.value.remedy

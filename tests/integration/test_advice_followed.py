"""For each way to be INVALID: what the advice says is set, and the next test is VALID."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness_llm.core import GenerationLimits, Mode, Scenario
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.fleet.fleet import Fleet, FleetPlan, ReplicaPlan
from harness_llm.fleet.watch import Watch
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.advice import advice
from harness_llm.results.run_folder import TestFolder
from harness_llm.testing import RecordingView
from harness_llm.transport.spec import LoadgenTest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINE = {"first_token_ms": 10, "concurrent": 8}  # holds 800 samples/s at most
SERVER = {
    "use_token_latencies": 1, "ttft_latency": 300, "tpot_latency": 100, "target_qps": 300,
    "min_duration": 100, "min_query_count": 662,
}  # fmt: skip
BATCHES = {"concurrent": 32, "batching": {"weights_ms": 1, "token_ms": 0, "request_us": 500}}
"""Holds some 230 samples/s; a step takes longer with each request, so TPOT grows with the rate."""
OFFLINE = {"target_qps": 1000, "min_duration": 500, "min_query_count": 40}
ROUNDS = 4  # on a busy machine the first rate that is advised may not do
SET = re.compile(r"set mine\.(?:Server|Offline)\.(\w+) = ([\d.]+)")
REMOVE = re.compile(r"remove mine\.(?:Server|Offline)\.(\w+)")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Path]]:
    with _loaded(ENGINE, tmp_path_factory.mktemp("advice")) as loaded:
        yield loaded


@contextlib.contextmanager
def _loaded(engine: dict[str, object], folder: Path) -> Iterator[tuple[Fleet, Path]]:
    table = load_synthetic("40:8:8", GenerationLimits(8, 8), seed=0, vocab_size=1000)
    table.save(folder / "samples.npz")
    plan = FleetPlan("advised", (ReplicaPlan("simulated", engine, {}),), 60)
    with Watch(RecordingView()) as watch, watch.fleet(plan, folder / "replicas") as loaded:
        yield loaded, folder


def _measured(
    fleet: tuple[Fleet, Path], scenario: Scenario, settings: dict[str, float], name: str
) -> tuple[bool, tuple[str, ...]]:
    """Whether a test with these settings is VALID, and what is advised."""
    loaded, folder = fleet
    conf = "".join(f"mine.{scenario}.{key} = {value:g}\n" for key, value in settings.items())
    test = LoadgenTest(
        name=f"{scenario}/{name}", scenario=scenario, mode=Mode.PERFORMANCE, loadgen_model="mine",
        user_conf=conf, target_qps=settings["target_qps"], samples=str(folder / "samples.npz"),
    )  # fmt: skip
    found = loaded.measure(msgspec.structs.replace(test), folder / name)
    return bool(DetailLog.read(found.folder / DETAIL_LOG).is_valid), advice(
        found.folder, TestFolder(found.folder).record()
    )


@pytest.mark.parametrize(
    ("scenario", "wrong", "advised"),
    [
        pytest.param(Scenario.SERVER, {"target_qps": 3000}, "target_qps", id="rate"),
        pytest.param(Scenario.SERVER, {"min_query_count": 100}, "min_query_count", id="too-few"),
        pytest.param(Scenario.SERVER, {"max_async_queries": 1}, "max_async_queries", id="outstanding"),
        pytest.param(Scenario.SERVER, {"max_duration": 300}, "max_duration", id="cut-by-time"),
        pytest.param(Scenario.SERVER, {"max_query_count": 100}, "max_query_count", id="cut-by-count"),
        pytest.param(Scenario.OFFLINE, {"target_qps": 40}, "target_qps", id="offline-too-short"),
    ],
)
def test_what_is_advised_makes_it_valid(
    fleet: tuple[Fleet, Path],
    request: pytest.FixtureRequest,
    scenario: Scenario,
    wrong: dict[str, float],
    advised: str,
) -> None:
    settings: dict[str, float] = {**(SERVER if scenario is Scenario.SERVER else OFFLINE), **wrong}
    _follow(fleet, scenario, settings, request.node.callspec.id, advised)


def _follow(
    fleet: tuple[Fleet, Path], scenario: Scenario, settings: dict[str, float], name: str, advised: str
) -> tuple[str, ...]:
    """Set what is said until the test is VALID; what was said first."""
    is_valid, said = _measured(fleet, scenario, settings, f"{name}-0")
    first = said
    assert not is_valid and said
    for number in range(1, ROUNDS + 1):
        set_, removed = SET.findall(" ".join(said)), REMOVE.findall(" ".join(said))
        if number == 1:
            assert advised in {*dict(set_), *removed}, said
        settings |= {key: float(value) for key, value in set_ if key not in removed}
        settings = {key: value for key, value in settings.items() if key not in removed}
        is_valid, said = _measured(fleet, scenario, settings, f"{name}-{number}")
        if is_valid:
            break
    assert is_valid and not said, said
    return first


def test_too_slow_a_token_is_advised_like_too_slow_a_first_one(tmp_path: Path) -> None:
    wrong = {**SERVER, "target_qps": 400, "ttft_latency": 5000, "tpot_latency": 12, "min_query_count": 459}
    with _loaded(BATCHES, tmp_path) as loaded:
        said = _follow(loaded, Scenario.SERVER, wrong, "slow-tokens", "target_qps")
    assert len(said) == 1 and said[0].startswith("TPOT p99 ") and "of 12 ms" in said[0], said
    assert "TTFT" not in said[0] and "held " in said[0]


def test_where_no_rate_can_help_none_is_advised(fleet: tuple[Fleet, Path]) -> None:
    is_valid, said = _measured(fleet, Scenario.SERVER, {**SERVER, "ttft_latency": 5}, "hopeless")
    assert not is_valid
    assert len(said) == 1 and "no rate helps" in said[0] and "set mine" not in said[0], said

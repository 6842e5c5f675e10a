"""What may be asked of a simulation, and how a wrong question is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from golden.recorded import unpack_run

from harness_llm.cli.simulate import _speeds
from harness_llm.cli.tune import _seconds
from harness_llm.core import GenerationLimits
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.errors import ConfigError, FolderError
from harness_llm.results.paths import SHARED_SAMPLES
from harness_llm.tune.batching import StepLimits
from harness_llm.tune.fleet_prediction import Recorded, settings_of
from harness_llm.tune.tries import engine_limits

if TYPE_CHECKING:
    from pathlib import Path


def test_every_combination_of_what_is_set_is_simulated() -> None:
    found = dict(
        settings_of(["max_num_seqs=8,16", "llm_config.max_num_batched_tokens=512"], StepLimits(kv_tokens=7))
    )
    assert found == {
        "max_num_seqs=8, max_num_batched_tokens=512": StepLimits(8, 512, 7),
        "max_num_seqs=16, max_num_batched_tokens=512": StepLimits(16, 512, 7),
    }
    assert list(settings_of([], StepLimits())) == [("as recorded", StepLimits())]


@pytest.mark.parametrize("text", ["dtype=float16", "max_num_seqs", "max_num_seqs=", "max_num_seqs=8,-1"])
def test_what_cannot_be_simulated_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        list(settings_of([text], StepLimits()))


@pytest.mark.parametrize(
    ("text", "replicas"), [("1,x", None), ("1,1", 3), ("0,1", 2), ("nan", 1), ("", None)]
)
def test_speeds_are_one_number_for_each_replica(text: str, replicas: int | None) -> None:
    assert _speeds("1,0.5", 2) == (1, 0.5) and _speeds(None, 3) == ()
    with pytest.raises(ConfigError, match="--speeds"):
        _speeds(text, replicas)


@pytest.mark.parametrize("text", ["0m", "30", "m", "-3s", "1d"])
def test_a_budget_is_a_length_of_time(text: str) -> None:
    assert (_seconds("90s"), _seconds("1.5m"), _seconds("2h")) == (90, 90, 7200)
    with pytest.raises(ConfigError, match="--budget"):
        _seconds(text)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="not a run folder"):
        Recorded.read(tmp_path)


def test_the_bounds_of_a_step_are_what_the_engine_says() -> None:
    config = {
        "scheduler_config": {"max_num_batched_tokens": 2048},
        "cache_config": {"num_gpu_blocks": 100, "block_size": 16},
        "compilation_config": {"cudagraph_capture_sizes": [8, 4, 1]},
    }
    assert engine_limits({"max_concurrent": 64, "resolved": {"config": config}}) == StepLimits(
        64, 2048, 1600, 16, (1, 4, 8)
    )
    assert engine_limits({"max_concurrent": 64, "resolved": {"batching": {"step_tokens": 9}}}) == StepLimits(
        64, 9
    )
    assert engine_limits({}) == StepLimits()


def test_an_offline_run_of_a_card_is_predicted_from_its_server_run(tmp_path: Path) -> None:
    """Both were measured on one H100, with other bounds of a step (docs/performance.md)."""
    server, offline = (unpack_run(name, tmp_path) for name in ("server_h100", "offline_h100"))
    limits = GenerationLimits(2, 128)
    load_synthetic("13368:400-1156:20-126", limits, seed=0, vocab_size=128256).save(server / SHARED_SAMPLES)
    said, was = Recorded.read(server).beside_offline(offline)
    assert (said.samples, was.samples) == (4224, 4224)
    assert was.tokens_per_s == pytest.approx(4561.6, rel=0.001)  # LoadGen's own figure
    assert said.tokens_per_s == pytest.approx(was.tokens_per_s, rel=0.03)


def test_a_server_run_of_a_card_near_saturation_is_predicted_from_itself(tmp_path: Path) -> None:
    """On one H100 at its power limit, 59 queries/s of at most about 62; vLLM planned each step ahead."""
    server = unpack_run("server_h100", tmp_path)
    limits = GenerationLimits(2, 128)
    load_synthetic("13368:400-1156:20-126", limits, seed=0, vocab_size=128256).save(server / SHARED_SAMPLES)
    known = Recorded.read(server)
    assert known.model.limits.plans_ahead and known.model.unexplained < 0.015
    said, was = known.beside(known)
    assert was.ttft_s[1] == pytest.approx(0.4446, rel=0.01) and was.tpot_s[1] == pytest.approx(
        0.0738, rel=0.01
    )
    assert said.tokens_per_s == pytest.approx(was.tokens_per_s, rel=0.01)
    assert said.tpot_s == pytest.approx(was.tpot_s, rel=0.1)
    assert said.ttft_s == pytest.approx(was.ttft_s, rel=0.1)


def test_only_an_offline_run_of_the_same_data_can_be_compared(tmp_path: Path) -> None:
    server = unpack_run("server_h100", tmp_path)
    limits = GenerationLimits(2, 128)
    load_synthetic("13368:400-1156:20-126", limits, seed=0, vocab_size=128256).save(server / SHARED_SAMPLES)
    with pytest.raises(FolderError, match="no complete performance test of Offline"):
        Recorded.read(server).beside_offline(server)

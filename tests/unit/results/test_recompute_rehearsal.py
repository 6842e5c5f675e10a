"""LoadGen's logs of the rehearsal at full legal size (benchmarks/rehearsal.sh), against our own events.

They have what short runs lack: answers of 10 to 1,024 tokens, so that the query issued last does not end
last, and Server's rate ends with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden.recorded import unpack

from harness_llm.core import EventStatus
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.summary import SummaryLog
from harness_llm.results.events import read_events
from harness_llm.results.recompute import server_latencies


@pytest.mark.parametrize("name", ["rehearsal-offline", "rehearsal-server", "rehearsal-interactive"])
def test_every_scenario_was_valid_and_long_enough(name: str, tmp_path: Path) -> None:
    folder = unpack(name, tmp_path)
    detail = DetailLog.read(folder / "mlperf_log_detail.txt")
    assert not detail.problems and not detail.error_lines
    assert detail.is_valid is True and SummaryLog.read(folder / "mlperf_log_summary.txt").is_valid is True
    assert detail.integer("effective_min_duration_ms") == 600_000


def test_offline_rate_from_events(tmp_path: Path) -> None:
    folder = unpack("rehearsal-offline", tmp_path)
    events = read_events(folder / "events.npy")
    assert len(events) == 24_576 and (events["status"] == EventStatus.FINISHED).all()
    seconds = (events["finished_ns"].max() - events["issued_ns"].min()) / 1e9
    logged = DetailLog.read(folder / "mlperf_log_detail.txt").tokens_per_second
    assert events["tokens"].sum() / seconds == pytest.approx(logged, rel=1e-3)


def test_server_rate_and_latencies_from_events(tmp_path: Path) -> None:
    folder = unpack("rehearsal-server", tmp_path)
    events = read_events(folder / "events.npy")
    detail = DetailLog.read(folder / "mlperf_log_detail.txt")
    assert len(events) == 24_576
    seconds = (events["finished_ns"][-1] - events["issued_ns"][0]) / 1e9
    assert events["finished_ns"].argmax() != len(events) - 1
    assert events["tokens"].sum() / seconds == pytest.approx(detail.tokens_per_second, rel=1e-3)
    seed = detail.integer("effective_schedule_rng_seed")
    assert seed is not None
    latencies = server_latencies(events, seed, 40.0)
    for ours, logged in ((latencies.ttft_ns, detail.ttft_p99_ns), (latencies.tpot_ns, detail.tpot_p99_ns)):
        assert logged is not None
        assert np.sort(ours)[int(len(ours) * 0.99)] == pytest.approx(logged, abs=1_000_000)

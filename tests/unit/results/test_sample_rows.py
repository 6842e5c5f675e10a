from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from golden.run_folder import build_run, events

from harness_llm.logs.detail import DetailLog
from harness_llm.results.reading import read_record
from harness_llm.results.recompute import server_latencies
from harness_llm.results.records import TestRecord
from harness_llm.results.sample_rows import read_sample_rows

if TYPE_CHECKING:
    from pathlib import Path


def test_latencies_are_those_that_the_check_recomputes(tmp_path: Path) -> None:
    folder = (
        build_run(tmp_path / "run", {"Server/performance": "rehearsal-server"}) / "Server" / "performance"
    )
    record, detail = (
        read_record(folder / "test.json", TestRecord),
        DetailLog.read(folder / "mlperf_log_detail.txt"),
    )
    rows = read_sample_rows(folder, record)
    seed, rate = detail.integer("effective_schedule_rng_seed"), detail.number("effective_target_qps")
    assert seed is not None and rate is not None and len(rows) == 24576
    wanted = server_latencies(events(folder), seed, rate)
    for ours, theirs in (
        (rows.ttft_ms, wanted.ttft_ns),
        (rows.tpot_ms, wanted.tpot_ns),
        (rows.latency_ms, wanted.latency_ns),
    ):
        assert np.allclose(ours, theirs / 1e6, rtol=0, atol=1e-6)
    p99 = detail.ttft_p99_ns
    assert p99 is not None and np.quantile(rows.ttft_ms, 0.99) == pytest.approx(p99 / 1e6, rel=0.01)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from golden.recorded import unpack

from harness_llm.logs.detail import DetailLog
from harness_llm.logs.schedule import arrivals_ns, is_real_rate

if TYPE_CHECKING:
    from pathlib import Path

SEED = 16159082839903944936


@pytest.mark.parametrize(
    "name", ["toy-server-valid", "toy-server-early-stopping", "llama2-server", "llama2-interactive-test06"]
)
def test_arrivals_are_loadgens_to_the_nanosecond(name: str, tmp_path: Path) -> None:
    log = DetailLog.read(unpack(name, tmp_path) / "mlperf_log_detail.txt")
    count = log.integer("generated_query_count")
    assert count
    arrivals = arrivals_ns(SEED, float(log.value("effective_target_qps")), count + 1)
    assert arrivals[-1] == log.value("generated_query_duration")


def test_issue_times_follow_the_schedule(tmp_path: Path) -> None:
    events = np.load(unpack("toy-server-valid", tmp_path) / "events.npy")
    delay = events["issued_ns"] - arrivals_ns(SEED, 400, len(events))
    delay -= delay.min()
    assert np.median(delay) < 1_000_000
    assert np.corrcoef(events["issued_ns"], arrivals_ns(SEED, 400, len(events)))[0, 1] > 0.9999


def test_prefixes_agree_and_rates_scale() -> None:
    long = arrivals_ns(SEED, 10.0, 1000)
    assert (arrivals_ns(SEED, 10.0, 10) == long[:10]).all()
    assert long[0] == 0 and (np.diff(long) >= 0).all()
    assert np.allclose(arrivals_ns(SEED, 20.0, 1000) * 2, long, atol=4000)
    assert len(arrivals_ns(SEED, 1.0, 0)) == 0
    assert list(arrivals_ns(SEED, 1.0, 1)) == [0]
    assert (arrivals_ns(SEED & 0xFFFFFFFF, 10.0, 10) == long[:10]).all()
    assert (arrivals_ns(SEED + 1, 10.0, 10)[1:] != long[1:10]).all()


def test_a_damaged_log_has_no_real_rate() -> None:
    assert is_real_rate(0.5) and is_real_rate(5_000)
    assert not any(map(is_real_rate, (0.0, -1.0, float("nan"), float("inf"))))

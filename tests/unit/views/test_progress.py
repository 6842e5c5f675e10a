from __future__ import annotations

import numpy as np

from harness_llm.core import Mode, Scenario
from harness_llm.results.latency_bins import Percentiles
from harness_llm.transport.spec import LoadgenTest
from harness_llm.transport.wire import Progress
from harness_llm.views.progress import TestProgress


def _progress(**limits: float) -> TestProgress:
    test = LoadgenTest("Server/x", Scenario.SERVER, Mode.PERFORMANCE, "m", "", 4.0, "s", **limits)  # type: ignore[arg-type]
    return TestProgress(test)


def test_a_message_without_news_leaves_the_test_quiet() -> None:
    progress = _progress()
    assert progress.update(Progress(1, 0, 0, b"", b""))
    before = progress.last_change
    assert not progress.update(Progress(1, 0, 0, b"", b""))
    assert progress.last_change == before
    assert progress.update(Progress(1, 0, 0, np.array([0.1], np.float32).tobytes(), b""))
    assert progress.last_change > before


def test_records_hold_totals_and_each_latency_once() -> None:
    progress = _progress(expected=1312, ttft_limit_ms=500, tpot_limit_ms=100)
    all_of_it = Percentiles()
    for number in range(1, 4):
        seconds = np.array([0.1, 0.2, 0.6] * number, np.float32)
        progress.update(Progress(3 * number, number, 10 * number, seconds.tobytes(), b""))
        progress.update(Progress(3 * number, number, 10 * number, b"", seconds[:1].tobytes()))
        record = progress.record()
        assert (record.issued, record.done, record.tokens) == (3 * number, number, 10 * number)
        assert sum(record.ttft.values()) == 3 * number and sum(record.tpot.values()) == 1
        all_of_it.add(record.ttft)
    assert all_of_it.count == 18
    assert (record.ttft_over, record.tpot_over, record.allowed) == (6, 0, 5)
    assert progress.record().ttft == {}
    progress.lost = "11 over the limit"
    assert progress.record().lost == "11 over the limit"

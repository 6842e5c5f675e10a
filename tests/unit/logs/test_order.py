"""LoadGen's sample order, made before a test, against what LoadGen itself asks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness_llm.logs.order import server_samples
from harness_llm.logs.schedule import server_query_count

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = {
    "qsl_rng_seed": 2085463073848966840,
    "sample_index_rng_seed": 2747215439041700203,
    "schedule_rng_seed": 16159082839903944936,
}
# A system that answers at once, in a process of its own: LoadGen reads its settings once a process.
ASK = """
import json, queue, sys, threading
import mlperf_loadgen as lg
total, loaded, fields, folder = json.loads(sys.argv[1])
seen, due = [], queue.Queue()
def issue(samples):
    seen.extend(each.index for each in samples)
    due.put([each.id for each in samples])
def answer():
    while (ids := due.get()) is not None:
        lg.QuerySamplesComplete([lg.QuerySampleResponse(each, 0, 0) for each in ids])
threading.Thread(target=answer, daemon=True).start()
settings = lg.TestSettings()
settings.scenario, settings.mode = lg.TestScenario.Server, lg.TestMode.PerformanceOnly
settings.server_target_latency_ns = 10**9
for name, value in fields.items():
    setattr(settings, name, value)
logs, output = lg.LogSettings(), lg.LogOutputSettings()
output.outdir, logs.enable_trace = folder, False
logs.log_output = output
sut = lg.ConstructSUT(issue, lambda: None)
qsl = lg.ConstructQSL(total, loaded, lambda _: None, lambda _: None)
lg.StartTestWithLogSettings(sut, qsl, settings, logs, "")
due.put(None)
print()
print(json.dumps(seen), flush=True)
"""


@pytest.mark.parametrize(
    ("total", "loaded", "fields"),
    [
        pytest.param(
            513, 513, {"min_query_count": 1200, "sample_concatenate_permutation": True}, id="several copies"
        ),
        pytest.param(
            512, 512, {"min_query_count": 100, "sample_concatenate_permutation": True}, id="one copy again"
        ),
        pytest.param(
            1500, 1000, {"min_query_count": 100, "sample_concatenate_permutation": True}, id="fewer loaded"
        ),
        pytest.param(1500, 1000, {"min_query_count": 1300}, id="drawn with replacement"),
        pytest.param(
            24_576,
            24_576,
            {"min_query_count": 100, "sample_concatenate_permutation": True, "server_target_qps": 20_000.0},
            id="a data set of official size",
        ),
        pytest.param(  # above 65,536 a draw is of one place, below it of two
            70_001,
            70_001,
            {"min_query_count": 100, "sample_concatenate_permutation": True, "server_target_qps": 20_000.0},
            id="a large data set",
        ),
        pytest.param(300, 300, {"min_query_count": 100, "performance_issue_unique": True}, id="each once"),
    ],
)
def test_the_order_is_loadgens(total: int, loaded: int, fields: dict[str, Any], tmp_path: Path) -> None:
    told = {**SEEDS, "server_target_qps": 3000.0, "min_duration_ms": 500, **fields}
    command = [sys.executable, "-c", ASK, json.dumps([total, loaded, told, str(tmp_path)])]
    printed = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout
    asked = json.loads(printed.splitlines()[-1])
    settings = {
        "sample_concatenate_permutation": False, "performance_issue_unique": False,
        "performance_sample_count_override": loaded, **told,
    }  # fmt: skip
    assert len(asked) >= 300
    assert server_samples(settings, total, len(asked)).tolist() == asked
    other = {**settings, "sample_index_rng_seed": 1}
    assert server_samples(other, total, len(asked)).tolist() != asked


def test_a_long_order_is_made_at_once_and_holds_each_sample_equally_often() -> None:
    settings = {
        **SEEDS, "min_query_count": 270_336, "sample_concatenate_permutation": True,
        "performance_issue_unique": False, "performance_sample_count_override": 24_576,
    }  # fmt: skip
    began = time.process_time()
    order = server_samples(settings, 24_576, 270_336)
    assert time.process_time() - began < 1
    assert np.bincount(order).tolist() == [11] * 24_576
    count = server_query_count(1, 100.0, min_queries=270_336, min_duration_ns=10**9, whole_sets_of=24_576)
    assert count == len(order)

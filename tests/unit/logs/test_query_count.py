"""How many queries LoadGen makes for a Server test, from its settings: as its own logs have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from golden.recorded import unpack
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.logs.detail import DetailLog
from harness_llm.logs.schedule import arrivals_ns, server_query_count
from harness_llm.logs.source import DETAIL_LOG

if TYPE_CHECKING:
    from pathlib import Path

SEED = 16159082839903944936


@pytest.mark.parametrize(
    "log", ["toy-server-valid", "llama2-server", "llama2-interactive", "rehearsal-server"]
)
def test_it_is_what_loadgen_generated(tmp_path: Path, log: str) -> None:
    detail = DetailLog.read(unpack(log, tmp_path / log) / DETAIL_LOG)
    loaded = detail.integer("effective_performance_sample_count")
    assert detail.integer("generated_query_count") == server_query_count(
        detail.value("requested_schedule_rng_seed"),
        detail.value("requested_server_target_qps"),
        min_queries=detail.value("requested_min_query_count"),
        min_duration_ns=detail.value("requested_min_duration_ms") * 10**6,
        whole_sets_of=loaded if detail.value("requested_sample_concatenate_permutation") else None,
    )


def _as_loadgen_does(qps: float, least: int, duration_ns: int, block: int | None) -> int:
    """loadgen.cc, GenerateQueries, query by query."""
    due = arrivals_ns(SEED, qps, 4 * least + 4 * int(duration_ns / 1e9 * qps) + 1000)
    least += -least % block if block else 0
    count = before = 0
    while before < duration_ns or count < least:
        before = int(due[count])
        count += 1
        if block and count >= least and before < duration_ns:
            least += block
    return count


@given(
    qps=st.floats(0.5, 500),
    least=st.integers(1, 400),
    duration_ms=st.integers(0, 2000),
    block=st.none() | st.integers(1, 150),
)
def test_it_follows_loadgens_loop(qps: float, least: int, duration_ms: int, block: int | None) -> None:
    found = server_query_count(
        SEED, qps, min_queries=least, min_duration_ns=duration_ms * 10**6, whole_sets_of=block
    )
    assert found == _as_loadgen_does(qps, least, duration_ms * 10**6, block)
    assert np.diff(arrivals_ns(SEED, qps, found)).min(initial=0) >= 0
